// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/pause"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/reload"
	"github.com/muster-project/muster/pkg/fleet"
)

// reload has the workloads followed that a pass has left, if the profile asks for that.
func (r *Reconciler) reload(actor actor, owner inventory.OwnerKey, spec *configv1beta1.ProfileSpec, result deploy.Result) {
	ref := actor.target.Ref
	switch {
	case r.Reloader == nil:
	// It restarts as Muster, which a tenant's profile must not have done.
	case !actor.as.IsZero() || !spec.Reloader || spec.SyncMode == configv1beta1.SyncModeDryRun:
		r.forgetReload(ref, owner)
	case result.Record != nil:
		r.Reloader.Set(ref, owner, reload.TargetsOf(result.Record))
	}
}

func (r *Reconciler) forgetReload(ref fleet.Ref, owner inventory.OwnerKey) {
	if r.Reloader != nil {
		r.Reloader.Set(ref, owner, reload.Targets{})
	}
}

// ReloadClients returns clients for what is written to clusters beside the passes: fenced
// against former leaders, and none while the cluster is paused. registered reads
// SveltosClusters.
func ReloadClients(clusters *fleet.Clusters, registered client.Reader, now func() time.Time) reload.Connect {
	return func(ctx context.Context, ref fleet.Ref) (*fleet.Client, error) {
		cluster := &libv1beta1.SveltosCluster{}
		if err := registered.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, cluster); err != nil {
			return nil, fmt.Errorf("reading SveltosCluster %s: %w", ref, err)
		}
		if reason := pause.OfCluster(cluster, now()); reason.Paused() {
			return nil, fmt.Errorf("%w: %s", reload.ErrPaused, reason.Text)
		}
		connection, err := clusters.Client(ctx, ref, fleet.Identity{})
		if err != nil {
			return nil, err
		}
		return connection, connection.Fence(ctx)
	}
}
