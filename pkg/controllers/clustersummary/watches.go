// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/backoff"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/conflict"
)

// clusterIndex finds the summaries of a cluster.
const clusterIndex = "spec.cluster"

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager registers the reconciler and what wakes it: the summaries,
// their clusters, their sources on the host, and jobs that end. host is the
// host's metadata of ConfigMaps and Secrets.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, host cache.Cache) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &configv1beta1.ClusterSummary{}, clusterIndex, clusterOf); err != nil {
		return fmt.Errorf("indexing ClusterSummaries by cluster: %w", err)
	}
	watching := manager.RunnableFunc(func(ctx context.Context) error { return r.flux.run(ctx, host) })
	if err := mgr.Add(watching); err != nil {
		return fmt.Errorf("watching Flux's sources: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).Named("clustersummary").
		For(&configv1beta1.ClusterSummary{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 20, RateLimiter: backoff.Limiter[reconcile.Request]()}).
		WatchesRawSource(r.Trigger).
		WatchesRawSource(source.Kind(mgr.GetCache(), &libv1beta1.SveltosCluster{}, r.onCluster())).
		WatchesRawSource(source.Kind(mgr.GetCache(), &configv1beta1.ClusterSummary{}, r.onNeighbour())).
		WatchesRawSource(source.Kind(mgr.GetCache(), &configv1beta1.ClusterProfile{}, onProfile[*configv1beta1.ClusterProfile](r, configv1beta1.KindClusterProfile))).
		WatchesRawSource(source.Kind(mgr.GetCache(), &configv1beta1.Profile{}, onProfile[*configv1beta1.Profile](r, configv1beta1.KindProfile))).
		WatchesRawSource(r.onSource(host, configv1beta1.SourceKindConfigMap)).
		WatchesRawSource(r.onSource(host, configv1beta1.SourceKindSecret)).
		Complete(conflict.Retried(r))
}

// clusterOf is a summary's value in clusterIndex.
func clusterOf(o client.Object) []string {
	return []string{clusterref.OfSummary(o.(*configv1beta1.ClusterSummary)).String()}
}

// onSource wakes the summaries that have read a ConfigMap or Secret when it
// changes, and when one that was missing appears.
func (r *Reconciler) onSource(host cache.Cache, kind string) source.Source {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	changed := func(o *metav1.PartialObjectMetadata) {
		r.SourceChanged(kind, types.NamespacedName{Namespace: o.Namespace, Name: o.Name})
	}
	return source.Kind(host, object, handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], _ queue) {
			changed(e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], _ queue) {
			if e.ObjectOld.ResourceVersion != e.ObjectNew.ResourceVersion {
				changed(e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], _ queue) {
			changed(e.Object)
		},
	})
}

// onCluster wakes the summaries of a cluster that changed or went.
func (r *Reconciler) onCluster() handler.TypedEventHandler[*libv1beta1.SveltosCluster, reconcile.Request] {
	wake := func(ctx context.Context, cluster *libv1beta1.SveltosCluster, q queue) {
		ref := clusterref.Of(cluster.Namespace, cluster.Name)
		summaries, err := r.summariesOf(ctx, ref)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Waking what is deployed to a cluster", "cluster", ref)
			return
		}
		for i := range summaries {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&summaries[i])})
		}
	}
	return handler.TypedFuncs[*libv1beta1.SveltosCluster, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*libv1beta1.SveltosCluster], q queue) {
			wake(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*libv1beta1.SveltosCluster], q queue) {
			wake(ctx, e.Object, q)
		},
	}
}
