// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"maps"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/backoff"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/conflict"
	"github.com/muster-project/muster/pkg/fleet"
)

type queue = workqueue.TypedRateLimitingInterface[Key]

// SetupWithManager registers the reconciler and what wakes it: the profiles
// themselves, their summaries, the sets that they name, and clusters whose
// labels change or that come and go.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &configv1beta1.ClusterSummary{}, ownerIndex, func(o client.Object) []string {
		return []string{ownerIndexValue(o)}
	})
	if err != nil {
		return err
	}
	cache := mgr.GetCache()
	return builder.TypedControllerManagedBy[Key](mgr).Named("profile").
		WithOptions(controller.TypedOptions[Key]{MaxConcurrentReconciles: 10, RateLimiter: backoff.Limiter[Key]()}).
		WatchesRawSource(source.TypedKind(cache, &configv1beta1.ClusterProfile{}, handler.TypedEnqueueRequestsFromMapFunc(
			func(_ context.Context, o *configv1beta1.ClusterProfile) []Key {
				return []Key{ofClusterProfile(o).key()}
			}))).
		WatchesRawSource(source.TypedKind(cache, &configv1beta1.ClusterProfile{}, onDependency(r, ofClusterProfile))).
		WatchesRawSource(source.TypedKind(cache, &configv1beta1.Profile{}, onDependency(r, ofProfile))).
		WatchesRawSource(source.TypedKind(cache, &configv1beta1.Profile{}, handler.TypedEnqueueRequestsFromMapFunc(
			func(_ context.Context, o *configv1beta1.Profile) []Key { return []Key{ofProfile(o).key()} }))).
		WatchesRawSource(source.TypedKind(cache, &configv1beta1.ClusterSummary{}, handler.TypedEnqueueRequestsFromMapFunc(
			func(ctx context.Context, o *configv1beta1.ClusterSummary) []Key {
				return append(ownerKeys(o), r.prerequisites(ctx, o)...)
			}), ofInterest())).
		WatchesRawSource(source.TypedKind(cache, &libv1beta1.ClusterSet{}, onSet(r, func(s *libv1beta1.ClusterSet) *libv1beta1.ClusterSetStatus { return &s.Status }))).
		WatchesRawSource(source.TypedKind(cache, &libv1beta1.Set{}, onSet(r, func(s *libv1beta1.Set) *libv1beta1.ClusterSetStatus { return &s.Status }))).
		WatchesRawSource(source.TypedKind(cache, &libv1beta1.SveltosCluster{}, r.onCluster())).
		Complete(conflict.Retried(r))
}

// ofInterest lets through what a profile looks at in its summaries. Their status
// has far more, and changes often: each time all of the profile's are listed.
func ofInterest() predicate.TypedPredicate[*configv1beta1.ClusterSummary] {
	return predicate.TypedFuncs[*configv1beta1.ClusterSummary]{
		UpdateFunc: func(e event.TypedUpdateEvent[*configv1beta1.ClusterSummary]) bool {
			before, after := e.ObjectOld, e.ObjectNew
			same := func(conditionType string) bool {
				return apiequality.Semantic.DeepEqual(meta.FindStatusCondition(before.Status.Conditions, conditionType),
					meta.FindStatusCondition(after.Status.Conditions, conditionType))
			}
			return before.UID != after.UID || before.Generation != after.Generation ||
				before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
				!sameSummary(before, after) || !same(configv1beta1.ConditionReady) || !same(libv1beta1.ConditionStalled) || !same(configv1beta1.ConditionConflict)
		},
	}
}

// ownerKeys is the profile that a summary belongs to.
func ownerKeys(summary *configv1beta1.ClusterSummary) []Key {
	owner := metav1.GetControllerOf(summary)
	if owner == nil {
		return nil
	}
	key := Key{Kind: owner.Kind, Name: owner.Name}
	if owner.Kind == configv1beta1.KindProfile {
		key.Namespace = summary.Namespace
	}
	return []Key{key}
}

// onSet wakes the profiles that name a set when its persisted selection changes
// and when it comes or goes.
func onSet[S client.Object](r *Reconciler, status func(S) *libv1beta1.ClusterSetStatus) handler.TypedEventHandler[S, Key] {
	wake := func(ctx context.Context, s S, q queue) {
		r.wake(ctx, q, func(p profile) bool {
			return p.GetNamespace() == s.GetNamespace() && slices.Contains(p.spec.SetRefs, s.GetName())
		})
	}
	return handler.TypedFuncs[S, Key]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[S], q queue) {
			if !e.IsInInitialList {
				wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[S], q queue) {
			before, after := status(e.ObjectOld), status(e.ObjectNew)
			if !apiequality.Semantic.DeepEqual(before.SelectedClusterRefs, after.SelectedClusterRefs) ||
				(before.ObservedGeneration == 0) != (after.ObservedGeneration == 0) ||
				e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() {
				wake(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[S], q queue) { wake(ctx, e.Object, q) },
	}
}

// onCluster wakes the profiles that a cluster's change can matter to. Whether
// the cluster is healthy right now is none of them: only sets move work.
func (r *Reconciler) onCluster() handler.TypedEventHandler[*libv1beta1.SveltosCluster, Key] {
	return handler.TypedFuncs[*libv1beta1.SveltosCluster, Key]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*libv1beta1.SveltosCluster], q queue) {
			if !e.IsInInitialList {
				r.wakeMatching(ctx, q, e.Object)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*libv1beta1.SveltosCluster], q queue) {
			if !maps.Equal(e.ObjectOld.Labels, e.ObjectNew.Labels) || hasBeenReady(e.ObjectOld) != hasBeenReady(e.ObjectNew) ||
				e.ObjectOld.UID != e.ObjectNew.UID || e.ObjectOld.DeletionTimestamp.IsZero() != e.ObjectNew.DeletionTimestamp.IsZero() {
				r.wakeMatching(ctx, q, e.ObjectOld, e.ObjectNew)
			}
			if r.updatable(e.ObjectOld) != r.updatable(e.ObjectNew) {
				r.wake(ctx, q, func(p profile) bool { return p.spec.MaxUpdate != nil })
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*libv1beta1.SveltosCluster], q queue) {
			r.wakeMatching(ctx, q, e.Object)
			r.wakeOwners(ctx, q, clusterref.Of(e.Object.Namespace, e.Object.Name))
		},
	}
}

func hasBeenReady(cluster *libv1beta1.SveltosCluster) bool {
	return meta.IsStatusConditionTrue(cluster.Status.Conditions, libv1beta1.ConditionHasBeenReady)
}

// wakeMatching wakes the profiles whose own selector or references match any of
// the states of a cluster.
func (r *Reconciler) wakeMatching(ctx context.Context, q queue, states ...*libv1beta1.SveltosCluster) {
	r.wake(ctx, q, func(p profile) bool {
		if p.GetNamespace() != "" && p.GetNamespace() != states[0].Namespace {
			return false
		}
		if slices.Contains(clusterref.FromObjects(p.spec.ClusterRefs, p.GetNamespace()), clusterref.Of(states[0].Namespace, states[0].Name)) {
			return true
		}
		selector, err := metav1.LabelSelectorAsSelector(&p.spec.ClusterSelector)
		return err == nil && !selector.Empty() && slices.ContainsFunc(states, func(c *libv1beta1.SveltosCluster) bool {
			return selector.Matches(labels.Set(c.Labels))
		})
	})
}

// wakeOwners wakes the profiles that have a summary for a cluster.
func (r *Reconciler) wakeOwners(ctx context.Context, q queue, ref fleet.Ref) {
	summaries := &configv1beta1.ClusterSummaryList{}
	if err := r.Client.List(ctx, summaries, client.InNamespace(ref.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing the ClusterSummaries of a cluster", "cluster", ref)
		return
	}
	for i := range summaries.Items {
		if clusterref.OfSummary(&summaries.Items[i]) != ref {
			continue
		}
		for _, key := range ownerKeys(&summaries.Items[i]) {
			q.Add(key)
		}
	}
}

// wake wakes the profiles that meet a condition, which must not write to them.
func (r *Reconciler) wake(ctx context.Context, q queue, condition func(profile) bool) {
	profiles, err := list(ctx, r.Client, client.UnsafeDisableDeepCopy)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Listing profiles to wake")
		return
	}
	for _, p := range profiles {
		if condition(p) {
			q.Add(p.key())
		}
	}
}
