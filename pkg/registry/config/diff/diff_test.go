// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/fleet"
)

// fixed answers with what a test says, and remembers what it was asked.
type fixed struct {
	reports []report.Report
	err     error

	profile  inventory.OwnerKey
	cluster  *types.NamespacedName
	deadline time.Duration
	block    chan struct{}
}

func (f *fixed) Diff(ctx context.Context, profile inventory.OwnerKey, cluster *types.NamespacedName) ([]report.Report, error) {
	f.profile, f.cluster = profile, cluster
	if deadline, ok := ctx.Deadline(); ok {
		f.deadline = time.Until(deadline)
	}
	if f.block != nil {
		<-f.block
	}
	return f.reports, f.err
}

func reports() []report.Report {
	cluster := fleet.Ref{Group: lib.GroupName, Kind: "SveltosCluster", Namespace: "civo", Name: "c1"}
	return []report.Report{{
		Cluster: cluster, Owner: inventory.Owner{Kind: "Profile", Namespace: "civo", Name: "web"},
		Preview: deploy.Preview{
			Objects: []deploy.ObjectChange{
				{ObjectKey: inventory.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: "x", Name: "d"}, Version: "v1", Feature: deploy.Resources, Action: deploy.ActionUpdate, Message: "a diff"},
				{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: "same"}, Version: "v1", Feature: deploy.Kustomize, Action: deploy.ActionNone},
			},
			Releases: []deploy.ReleaseChange{{ReleaseKey: inventory.ReleaseKey{Namespace: "x", Name: "r"}, Chart: "nginx", Version: "2", Action: deploy.ActionUpgrade}},
			Warnings: []string{"deprecated"}, Failure: "policyRefs[0] is missing",
		},
	}}
}

func newREST(f *fixed) *REST {
	return NewREST("Profile", config.Resource("profiles"), true, f, NewRates())
}

func TestGet(t *testing.T) {
	f := &fixed{reports: reports()}
	ctx := request.WithNamespace(t.Context(), "civo")
	got, err := newREST(f).Get(ctx, "web", &config.DiffOptions{Cluster: "civo/c1"})
	if err != nil {
		t.Fatal(err)
	}
	if f.profile != (inventory.OwnerKey{Kind: "Profile", Namespace: "civo", Name: "web"}) || f.cluster == nil || *f.cluster != (types.NamespacedName{Namespace: "civo", Name: "c1"}) {
		t.Errorf("asked for %v on %v", f.profile, f.cluster)
	}
	if f.deadline <= 0 || f.deadline >= time.Minute {
		t.Errorf("it may take %s", f.deadline)
	}
	diff := got.(*config.Diff)
	if len(diff.Clusters) != 1 || diff.Name != "web" || diff.Namespace != "civo" {
		t.Fatalf("diff %+v", diff)
	}
	want := config.ClusterDiff{
		Cluster:  diff.Clusters[0].Cluster,
		Releases: []config.ReleaseReport{{ReleaseName: "r", ReleaseNamespace: "x", ChartName: "nginx", ChartVersion: "2", Action: "Upgrade"}},
		Resources: []config.ResourceReport{
			{Resource: config.DeployedResource{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "x", Name: "d", DeploymentType: lib.DeploymentTypeRemote}, Action: "Update", Message: "a diff"},
			{Resource: config.DeployedResource{Version: "v1", Kind: "ConfigMap", Namespace: "x", Name: "same", DeploymentType: lib.DeploymentTypeRemote}, Action: "No Action"},
		},
		Warnings: []string{"deprecated"}, FailureMessage: "policyRefs[0] is missing",
	}
	if diff := cmp.Diff(want, diff.Clusters[0]); diff != "" {
		t.Errorf("cluster (-want +got):\n%s", diff)
	}
	if want.Cluster.Name != "c1" || want.Cluster.Namespace != "civo" || want.Cluster.Kind != "SveltosCluster" {
		t.Errorf("cluster %+v", want.Cluster)
	}
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		cluster string
		err     error
		is      func(error) bool
	}{
		"no such profile":      {"", report.ErrNoProfile, apierrors.IsNotFound},
		"it does not match":    {"civo/c1", fmt.Errorf("x: %w", report.ErrNoMatch), apierrors.IsBadRequest},
		"storage":              {"", errors.New("etcd"), apierrors.IsInternalError},
		"a name alone":         {"c1", nil, apierrors.IsBadRequest},
		"a name with a slash":  {"a/b/c", nil, apierrors.IsBadRequest},
		"an absent namespace":  {"/c1", nil, apierrors.IsBadRequest},
		"a namespace, no name": {"civo/", nil, apierrors.IsBadRequest},
		"all that it is on":    {"", nil, func(err error) bool { return err == nil }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newREST(&fixed{err: tc.err}).Get(t.Context(), "web", &config.DiffOptions{Cluster: tc.cluster})
			if !tc.is(err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// One user's many diffs keep nobody else waiting, and all together are bounded.
func TestRates(t *testing.T) {
	as := func(name string) context.Context {
		return request.WithUser(t.Context(), &user.DefaultInfo{Name: name})
	}
	f := &fixed{}
	r := newREST(f)
	refused := 0
	for range burst + 5 {
		if _, err := r.Get(as("eve"), "web", &config.DiffOptions{}); apierrors.IsTooManyRequests(err) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused < 4 {
		t.Errorf("%d of %d were refused", refused, burst+5)
	}
	if _, err := r.Get(as("alice"), "web", &config.DiffOptions{}); err != nil {
		t.Errorf("somebody else is answered with %v", err)
	}

	f.block = make(chan struct{})
	began := make(chan func(), atOnce)
	for i := range atOnce {
		leave, _ := r.rates.enter(&user.DefaultInfo{Name: fmt.Sprint("user", i)})
		if leave == nil {
			t.Fatalf("number %d does not get in", i)
		}
		began <- leave
	}
	if leave, wait := r.rates.enter(&user.DefaultInfo{Name: "late"}); leave != nil || wait == 0 {
		t.Error("more are under way than may be")
	}
	(<-began)()
	first, _ := r.rates.enter(&user.DefaultInfo{Name: "late"})
	if first == nil {
		t.Error("there is room, and nobody gets in")
	}
}

func TestTableHasWhatChanges(t *testing.T) {
	f := &fixed{reports: reports()}
	r := newREST(f)
	got, err := r.Get(t.Context(), "web", &config.DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ConvertToTable(t.Context(), got, nil)
	if err != nil {
		t.Fatal(err)
	}
	var cells [][]any
	for _, row := range table.Rows {
		cells = append(cells, row.Cells)
	}
	want := [][]any{
		{"civo/c1", "helm release", "x", "r", "Upgrade", ""},
		{"civo/c1", "apps:Deployment", "x", "d", "Update", "a diff"},
		{"civo/c1", "", "", "", "Error", "policyRefs[0] is missing"},
		{"civo/c1", "", "", "", "Warning", "deprecated"},
	}
	if diff := cmp.Diff(want, cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if len(table.ColumnDefinitions) != len(want[0]) {
		t.Errorf("%d columns", len(table.ColumnDefinitions))
	}
	headless, err := r.ConvertToTable(t.Context(), got, &metav1.TableOptions{NoHeaders: true})
	if err != nil || len(headless.ColumnDefinitions) != 0 {
		t.Errorf("without headers: %v, %v", headless.ColumnDefinitions, err)
	}
}
