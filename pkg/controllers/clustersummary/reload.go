// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/pause"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/reload"
	"github.com/muster-project/muster/pkg/fleet"
)

// reload has the workloads followed that a pass has left, if the profile asks for that, and
// restarted as who it is deployed as.
func (r *Reconciler) reload(actor actor, owner inventory.OwnerKey, spec *configv1beta1.ProfileSpec, result deploy.Result) {
	ref := actor.target.Ref
	switch {
	case r.Reloader == nil:
	case !spec.Reloader || spec.SyncMode == configv1beta1.SyncModeDryRun:
		r.Reloader.Forget(ref, owner)
	case result.Record != nil:
		r.Reloader.Set(ref, actor.as, owner, reload.TargetsOf(result.Record))
	}
}

// forgetReload ends the following of what a profile has on a cluster.
func (r *Reconciler) forgetReload(ref fleet.Ref, owner inventory.OwnerKey) {
	if r.Reloader != nil {
		r.Reloader.Forget(ref, owner)
	}
}

// ReloadFailed tells in events whose workloads could not be looked at or restarted. It is what
// a reload.Reloader reports to.
func (r *Reconciler) ReloadFailed(ctx context.Context, ref fleet.Ref, owners []inventory.OwnerKey, failed error) {
	summaries, err := r.summariesOf(ctx, ref)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Telling that workloads could not be restarted", "cluster", ref)
		return
	}
	for i := range summaries {
		if owner, err := ownerOf(&summaries[i]); err == nil && slices.Contains(owners, owner.Key()) {
			r.Events.Eventf(&summaries[i], nil, corev1.EventTypeWarning, configv1beta1.ReasonReloadFailed, "Reload", "%s",
				bounded("Workloads are not restarted when what they use changes: "+failed.Error()))
		}
	}
}

// ReloadClients returns the clients of clusters in which workloads may be restarted at the
// moment. A tenant's has to have its account on the host still, as when it deploys.
func ReloadClients(clusters *fleet.Clusters, host HostCluster, registered client.Reader, now func() time.Time) reload.Connect {
	return func(ctx context.Context, ref fleet.Ref, as fleet.Identity) (*fleet.Client, error) {
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
		if err := connection.Fence(ctx); err != nil || as.IsZero() {
			return connection, err
		}
		return tenantClient(ctx, clusters, host, ref, as)
	}
}
