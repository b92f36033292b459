// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/reload"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/watches"
)

func TestNothingIsRestartedInAPausedCluster(t *testing.T) {
	paused := registration()
	paused.Spec.Paused = true
	connect := ReloadClients(nil, nil, newClient(t, paused), func() time.Time { return noon })
	if _, err := connect(t.Context(), clusterref.Of("civo", "cluster1"), fleet.Identity{}); !errors.Is(err, reload.ErrPaused) {
		t.Errorf("%v, want %v", err, reload.ErrPaused)
	}
	if _, err := connect(t.Context(), clusterref.Of("civo", "gone"), fleet.Identity{}); err == nil || errors.Is(err, reload.ErrPaused) {
		t.Errorf("a cluster that is gone: %v", err)
	}
}

// nothingSeen are watches that tell nothing.
type nothingSeen struct{}

func (nothingSeen) Subscribe(watches.Key, watches.Handler) func() { return func() {} }

// Only what a profile asks for is followed, and as who it is deployed as.
func TestReloaderIsAskedFor(t *testing.T) {
	ref, owner := fleet.Ref{Name: "a"}, inventory.OwnerKey{Name: "web"}
	tenant := fleet.Identity{ServiceAccountNamespace: "n", ServiceAccountName: "tenant"}
	record := &inventory.Record{Objects: []inventory.Object{{ObjectKey: inventory.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: "n", Name: "web"}}}}
	for _, tc := range []struct {
		spec configv1beta1.ProfileSpec
		as   fleet.Identity
		want bool
	}{
		{configv1beta1.ProfileSpec{Reloader: true}, fleet.Identity{}, true},
		{configv1beta1.ProfileSpec{Reloader: true}, tenant, true},
		{configv1beta1.ProfileSpec{}, fleet.Identity{}, false},
		{configv1beta1.ProfileSpec{}, tenant, false},
		{configv1beta1.ProfileSpec{Reloader: true, SyncMode: configv1beta1.SyncModeDryRun}, fleet.Identity{}, false},
	} {
		for _, before := range []fleet.Identity{{}, tenant} {
			r := New(Options{Reloader: reload.New(nil, nothingSeen{}, nil)})
			r.Reloader.Set(ref, before, owner, reload.TargetsOf(record))
			r.reload(actor{as: tc.as, target: deploy.Cluster{Ref: ref}}, owner, &tc.spec, deploy.Result{Record: record})
			for _, as := range []fleet.Identity{{}, tenant} {
				if got := r.Reloader.Follows(ref, as); got != (tc.want && as == tc.as) {
					t.Errorf("%+v as %q, as %q before: followed as %q: %t", tc.spec, tc.as.UserName(), before.UserName(), as.UserName(), got)
				}
			}
		}
	}
}

// Whose workloads are not restarted is told, and nobody else.
func TestAFailureToRestartIsTold(t *testing.T) {
	mine, theirs := summaryFor("web"), summaryFor("other")
	recorder := events.NewFakeRecorder(10)
	r := New(Options{Client: newClient(t, mine, theirs), Events: recorder})
	owner := inventory.OwnerKey{Kind: configv1beta1.KindClusterProfile, Name: "web"}
	r.ReloadFailed(t.Context(), clusterref.Of("civo", "cluster1"), []inventory.OwnerKey{owner}, errors.New("secrets is forbidden"))
	if len(recorder.Events) != 1 {
		t.Fatalf("%d events", len(recorder.Events))
	}
	if got := <-recorder.Events; !strings.Contains(got, configv1beta1.ReasonReloadFailed) || !strings.Contains(got, "secrets is forbidden") {
		t.Errorf("told is %q", got)
	}
}
