// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry/registrytest"
)

var applied = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

func cluster(name string) fleet.Ref {
	return fleet.Ref{Group: lib.GroupName, Kind: "SveltosCluster", Namespace: "civo", Name: name}
}

// records are a release and an object of one profile, and the same object of
// another one, in one cluster, and that object in another cluster.
func records() []*inventory.Record {
	deployment := inventory.Object{
		ObjectKey: inventory.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: "web", Name: "front"},
		Version:   "v1", Feature: "Resources", LastAppliedTime: applied,
	}
	return []*inventory.Record{
		{
			Cluster: cluster("c1"), Owner: inventory.Owner{Kind: "Profile", Namespace: "civo", Name: "web"},
			Objects: []inventory.Object{deployment},
		},
		{
			Cluster: cluster("c1"), Owner: inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"},
			Objects: []inventory.Object{deployment},
			Releases: []inventory.Release{{
				ReleaseKey: inventory.ReleaseKey{Namespace: "kyverno", Name: "kyverno-latest"}, Version: "3.3.3", LastAppliedTime: applied,
			}},
		},
		{
			Cluster: cluster("c2"), Owner: inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"},
			Objects: []inventory.Object{deployment},
		},
	}
}

type fixed []*inventory.Record

func (f fixed) List(_ context.Context, namespace string) ([]*inventory.Record, error) {
	var out []*inventory.Record
	for _, r := range f {
		if namespace == "" || r.Cluster.Namespace == namespace {
			out = append(out, r)
		}
	}
	return out, nil
}

func TestOneAddonForEveryReleaseAndObject(t *testing.T) {
	got := map[string]*config.Addon{}
	for _, a := range compute(records()) {
		got[a.Cluster.Name+" "+a.ResourceType] = a
	}
	if len(got) != 3 {
		t.Fatalf("%d add-ons: %v", len(got), got)
	}
	release := got["c1 helm chart"]
	want := &config.Addon{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "civo", Name: release.ObjectMeta.Name,
			Labels: map[string]string{v1beta1.LabelAddonCluster: "c1", v1beta1.LabelAddonProfile: "kyverno", v1beta1.LabelAddonType: "helm"},
		},
		Cluster:      corev1.ObjectReference{APIVersion: "lib.projectsveltos.io/v1beta1", Kind: "SveltosCluster", Namespace: "civo", Name: "c1"},
		ResourceType: "helm chart", Namespace: "kyverno", Name: "kyverno-latest", Version: "3.3.3",
		LastAppliedTime: &applied, DeploymentType: lib.DeploymentTypeRemote, Profiles: []string{"ClusterProfile/kyverno"},
	}
	if diff := cmp.Diff(want, release); diff != "" {
		t.Errorf("release (-want +got):\n%s", diff)
	}
	object := got["c1 apps:Deployment"]
	if object.Version != "" || object.Namespace != "web" || object.Name != "front" || object.Labels[v1beta1.LabelAddonType] != "resource" {
		t.Errorf("object is %+v", object)
	}
	if diff := cmp.Diff([]string{"ClusterProfile/kyverno", "Profile/web"}, object.Profiles); diff != "" {
		t.Errorf("profiles of an object that two deploy (-want +got):\n%s", diff)
	}
}

// The same thing has the same name in every answer, and no two have one.
func TestNamesAreStableAndUnique(t *testing.T) {
	names := map[string]string{}
	for _, a := range compute(records()) {
		name := a.ObjectMeta.Name
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			t.Errorf("%s is no name: %v", name, problems)
		}
		if other, taken := names[name]; taken {
			t.Errorf("%s is of %s and %s", name, other, a.ResourceType)
		}
		names[name] = a.ResourceType
	}
	for _, a := range compute(records()) {
		if names[a.ObjectMeta.Name] != a.ResourceType {
			t.Errorf("%s %s had another name before", a.ResourceType, a.Name)
		}
	}
	for name, resourceType := range names {
		if prefix := map[string]string{"helm chart": "release-", "apps:Deployment": "deployment-"}[resourceType]; !strings.HasPrefix(name, prefix) {
			t.Errorf("%s is called %s", resourceType, name)
		}
	}
}

func TestAReleaseAndAnObjectOfItsNameAreTwo(t *testing.T) {
	r := &inventory.Record{
		Cluster: cluster("c"), Owner: inventory.Owner{Kind: "ClusterProfile", Name: "p"},
		Releases: []inventory.Release{{ReleaseKey: inventory.ReleaseKey{Namespace: "n", Name: "x"}, LastAppliedTime: applied}},
		Objects:  []inventory.Object{{ObjectKey: inventory.ObjectKey{Kind: "Release", Namespace: "n", Name: "x"}, LastAppliedTime: applied}},
	}
	addons := compute([]*inventory.Record{r})
	if len(addons) != 2 || addons[0].ObjectMeta.Name == addons[1].ObjectMeta.Name {
		t.Errorf("add-ons are %v", addons)
	}
}

func TestNamesThatAreNoLabelsAreLeftOut(t *testing.T) {
	long := strings.Repeat("c", 64)
	r := &inventory.Record{
		Cluster: cluster(long), Owner: inventory.Owner{Kind: "ClusterProfile", Name: "p"},
		Releases: []inventory.Release{{ReleaseKey: inventory.ReleaseKey{Name: "x"}, LastAppliedTime: applied}},
	}
	got := compute([]*inventory.Record{r})[0]
	if _, labelled := got.Labels[v1beta1.LabelAddonCluster]; labelled || got.Cluster.Name != long {
		t.Errorf("labels are %v, cluster is %s", got.Labels, got.Cluster.Name)
	}
}

func TestAddonsAreSelected(t *testing.T) {
	view := NewREST(fixed(records()))
	tests := map[string]struct {
		namespace string
		options   metainternalversion.ListOptions
		want      int
	}{
		"all":               {want: 3},
		"of a namespace":    {namespace: "civo", want: 3},
		"of another one":    {namespace: "default"},
		"of a cluster":      {options: metainternalversion.ListOptions{LabelSelector: labels.SelectorFromSet(labels.Set{v1beta1.LabelAddonCluster: "c2"})}, want: 1},
		"releases":          {options: metainternalversion.ListOptions{LabelSelector: labels.SelectorFromSet(labels.Set{v1beta1.LabelAddonType: "helm"})}, want: 1},
		"by cluster's name": {options: metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("cluster.name", "c1")}, want: 2},
		"by version":        {options: metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("version", "3.3.3")}, want: 1},
		"by type":           {options: metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("resourceType", "apps:Deployment")}, want: 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := view.List(request.WithNamespace(t.Context(), test.namespace), &test.options)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(got.(*config.AddonList).Items); n != test.want {
				t.Errorf("%d add-ons, want %d", n, test.want)
			}
		})
	}
	registrytest.Selectable(t, config.SchemeGroupVersion.WithKind("Addon").GroupKind(), selectable(&config.Addon{}))
}

func TestTable(t *testing.T) {
	recent := metav1.NewTime(time.Now().Add(-2 * time.Minute))
	addon := &config.Addon{
		ObjectMeta:   metav1.ObjectMeta{Name: "release-1"},
		Cluster:      corev1.ObjectReference{Namespace: "civo", Name: "c1"},
		ResourceType: "helm chart", Namespace: "kyverno", Name: "kyverno-latest", Version: "3.3.3",
		LastAppliedTime: &recent, DeploymentType: lib.DeploymentTypeRemote, Profiles: []string{"ClusterProfile/a", "Profile/b"},
	}
	got, err := table.ConvertToTable(t.Context(), addon, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{"release-1", "civo/c1", "helm chart", "kyverno/kyverno-latest", "3.3.3", "2m", "ClusterProfile/a;Profile/b", "Remote"}
	if diff := cmp.Diff(want, got.Rows[0].Cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	addon.Namespace = ""
	if got := resource(addon); got != "kyverno-latest" {
		t.Errorf("what is in no namespace is printed as %q", got)
	}
}
