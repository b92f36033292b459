// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"testing"
	"time"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/reload"
	"github.com/muster-project/muster/pkg/fleet"
)

func TestNothingIsRestartedInAPausedCluster(t *testing.T) {
	paused := registration()
	paused.Spec.Paused = true
	connect := ReloadClients(nil, newClient(t, paused), func() time.Time { return noon })
	if _, err := connect(t.Context(), clusterref.Of("civo", "cluster1")); !errors.Is(err, reload.ErrPaused) {
		t.Errorf("%v, want %v", err, reload.ErrPaused)
	}
	if _, err := connect(t.Context(), clusterref.Of("civo", "gone")); err == nil || errors.Is(err, reload.ErrPaused) {
		t.Errorf("a cluster that is gone: %v", err)
	}
}

// Only what a profile asks for is followed.
func TestReloaderIsAskedFor(t *testing.T) {
	ref, owner := fleet.Ref{Name: "a"}, inventory.OwnerKey{Name: "web"}
	record := &inventory.Record{Objects: []inventory.Object{{ObjectKey: inventory.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: "n", Name: "web"}}}}
	for _, tc := range []struct {
		spec configv1beta1.ProfileSpec
		as   fleet.Identity
		want bool
	}{
		{configv1beta1.ProfileSpec{Reloader: true}, fleet.Identity{}, true},
		{configv1beta1.ProfileSpec{Reloader: true}, fleet.Identity{ServiceAccountNamespace: "n", ServiceAccountName: "tenant"}, false},
		{configv1beta1.ProfileSpec{}, fleet.Identity{}, false},
		{configv1beta1.ProfileSpec{Reloader: true, SyncMode: configv1beta1.SyncModeDryRun}, fleet.Identity{}, false},
	} {
		r := New(Options{Reloader: reload.New(nil)})
		r.Reloader.Set(ref, owner, reload.TargetsOf(record))
		r.reload(actor{as: tc.as, target: deploy.Cluster{Ref: ref}}, owner, &tc.spec, deploy.Result{Record: record})
		if got := r.Reloader.Follows(ref); got != tc.want {
			t.Errorf("%+v: followed %t, want %t", tc.spec, got, tc.want)
		}
	}
}
