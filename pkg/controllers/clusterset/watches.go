// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/backoff"
	"github.com/muster-project/muster/pkg/controllers/conflict"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/selection"
)

// SetupWithManager registers the reconciler. changes tells of sets whose
// computed selection may differ from the stored one; the sets themselves wake it
// for what the index does not look at.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, changes *trigger.Source[selection.SetKey]) error {
	return builder.TypedControllerManagedBy[selection.SetKey](mgr).Named("clusterset").
		WithOptions(controller.TypedOptions[selection.SetKey]{MaxConcurrentReconciles: 4, RateLimiter: backoff.Limiter[selection.SetKey]()}).
		WatchesRawSource(changes).
		WatchesRawSource(onSpec(mgr, &libv1beta1.ClusterSet{}, libv1beta1.KindClusterSet)).
		WatchesRawSource(onSpec(mgr, &libv1beta1.Set{}, libv1beta1.KindSet)).
		Complete(conflict.Retried(r))
}

// onSpec wakes for sets that are new, or whose spec or annotations changed.
func onSpec[S client.Object](mgr ctrl.Manager, object S, kind string) source.TypedSource[selection.SetKey] {
	toKey := func(_ context.Context, s S) []selection.SetKey {
		return []selection.SetKey{{Kind: kind, Namespace: s.GetNamespace(), Name: s.GetName()}}
	}
	return source.TypedKind(mgr.GetCache(), object,
		handler.TypedEnqueueRequestsFromMapFunc(toKey),
		predicate.Or[S](predicate.TypedGenerationChangedPredicate[S]{}, predicate.TypedAnnotationChangedPredicate[S]{}))
}

// TriggerAll wakes the reconciler for every set: the brake was put on or off.
func TriggerAll(ctx context.Context, reader client.Reader, changes *trigger.Source[selection.SetKey]) error {
	clusterSets := &libv1beta1.ClusterSetList{}
	if err := reader.List(ctx, clusterSets); err != nil {
		return err
	}
	for i := range clusterSets.Items {
		changes.Trigger(selection.SetKey{Kind: libv1beta1.KindClusterSet, Name: clusterSets.Items[i].Name})
	}
	sets := &libv1beta1.SetList{}
	if err := reader.List(ctx, sets); err != nil {
		return err
	}
	for i := range sets.Items {
		changes.Trigger(selection.SetKey{Kind: libv1beta1.KindSet, Namespace: sets.Items[i].Namespace, Name: sets.Items[i].Name})
	}
	return nil
}
