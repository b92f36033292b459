// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/backoff"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/conflict"
	"github.com/muster-project/muster/pkg/fleet"
)

// secretIndex finds the clusters whose kubeconfig a Secret holds.
const secretIndex = "spec.kubeconfigSecret"

// SetupWithManager registers the reconciler. secrets is the host's metadata of
// Secrets; a change of one that holds a kubeconfig takes effect at once.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, secrets cache.Cache) error {
	indexes := map[string]func(*libv1beta1.SveltosCluster) string{
		clusterIDIndex: func(c *libv1beta1.SveltosCluster) string { return c.Status.ClusterID },
		secretIndex:    secretName,
	}
	for name, value := range indexes {
		err := mgr.GetFieldIndexer().IndexField(ctx, &libv1beta1.SveltosCluster{}, name, func(o client.Object) []string {
			if v := value(o.(*libv1beta1.SveltosCluster)); v != "" {
				return []string{v}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("indexing SveltosClusters by %s: %w", name, err)
		}
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(secretKind)
	return ctrl.NewControllerManagedBy(mgr).Named("sveltoscluster").
		For(&libv1beta1.SveltosCluster{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 20, RateLimiter: backoff.Limiter[reconcile.Request]()}).
		WatchesRawSource(r.Trigger).
		WatchesRawSource(source.Kind(secrets, secret, r.onSecret())).
		WatchesRawSource(source.Kind(mgr.GetCache(), &libv1beta1.SveltosCluster{}, r.onIdentity())).
		Complete(conflict.Retried(r))
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (r *Reconciler) onSecret() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], q queue) {
			if !e.IsInInitialList {
				r.rotated(ctx, e.Object)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q queue) {
			if e.ObjectOld.ResourceVersion != e.ObjectNew.ResourceVersion {
				r.rotated(ctx, e.ObjectNew)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], q queue) {
			r.rotated(ctx, e.Object)
		},
	}
}

// onIdentity wakes the registrations of a cluster when there is one more or less
// of them: each names all others. It runs when the index knows of the change,
// which a reconciler that has just written it does not.
func (r *Reconciler) onIdentity() handler.TypedEventHandler[*libv1beta1.SveltosCluster, reconcile.Request] {
	wake := func(ctx context.Context, id string, q queue) {
		twins, err := r.registrationsOf(ctx, fleet.ClusterID(id))
		if err != nil {
			klog.FromContext(ctx).Error(err, "Looking for the other registrations of a cluster")
			return
		}
		for i := range twins {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&twins[i])})
		}
	}
	return handler.TypedFuncs[*libv1beta1.SveltosCluster, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*libv1beta1.SveltosCluster], q queue) {
			if was, is := e.ObjectOld.Status.ClusterID, e.ObjectNew.Status.ClusterID; was != is {
				wake(ctx, was, q)
				wake(ctx, is, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*libv1beta1.SveltosCluster], q queue) {
			wake(ctx, e.Object.Status.ClusterID, q)
		},
	}
}

// rotated makes the clusters that a Secret is for be reached with what it holds
// now.
func (r *Reconciler) rotated(ctx context.Context, secret *metav1.PartialObjectMetadata) {
	clusters := &libv1beta1.SveltosClusterList{}
	err := r.Client.List(ctx, clusters, client.InNamespace(secret.Namespace), client.MatchingFields{secretIndex: secret.Name})
	if err != nil {
		klog.FromContext(ctx).Error(err, "Looking for the clusters of a Secret", "secret", klog.KObj(secret))
		return
	}
	for i := range clusters.Items {
		ref := clusterref.Of(clusters.Items[i].Namespace, clusters.Items[i].Name)
		r.Forget(ref)
		r.Prober.ProbeNow(ref)
	}
}
