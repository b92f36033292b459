// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/pause"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/dependency"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// neighbours are the summaries on the cluster of one whose profiles can depend on its own,
// that one among them, by the names of the profiles.
func (r *Reconciler) neighbours(ctx context.Context, summary *configv1beta1.ClusterSummary, owner inventory.Owner) (map[string]*configv1beta1.ClusterSummary, error) {
	all := &configv1beta1.ClusterSummaryList{}
	cluster := clusterref.OfSummary(summary)
	// Only read, and often.
	err := r.Client.List(ctx, all, client.InNamespace(cluster.Namespace), client.MatchingFields{clusterIndex: cluster.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("looking for the ClusterSummaries of %s: %w", cluster, err)
	}
	found := map[string]*configv1beta1.ClusterSummary{}
	for i := range all.Items {
		if other, err := ownerOf(&all.Items[i]); err == nil && other.Kind == owner.Kind && other.Namespace == owner.Namespace {
			found[other.Name] = &all.Items[i]
		}
	}
	found[owner.Name] = summary
	return found, nil
}

// awaitPrerequisites says which of the profiles that a summary's profile depends on are
// not deployed to the cluster yet, and notes it for the status.
func (r *Reconciler) awaitPrerequisites(ctx context.Context, f *flow) (string, error) {
	names := f.summary.Spec.ClusterProfileSpec.DependsOn
	if len(names) == 0 {
		f.dependencies = nil
		return "", nil
	}
	owner, err := ownerOf(f.summary)
	if err != nil {
		return "", err
	}
	neighbours, err := r.neighbours(ctx, f.summary, owner)
	if err != nil {
		return "", err
	}
	var waiting []string
	for _, name := range names {
		why := unmet(neighbours, owner.Name, name)
		if why == notHere {
			key := profileKey(owner.Key())
			key.Name = name
			exists, _, err := profile.Exists(ctx, r.Client, key)
			if err != nil {
				return "", err
			}
			if !exists {
				why = "there is no such " + owner.Kind
			}
		}
		if why != "" {
			waiting = append(waiting, fmt.Sprintf("%s (%s)", name, why))
		}
	}
	if len(waiting) == 0 {
		f.dependencies = ptr.To("All are deployed: " + strings.Join(names, ", ") + ".")
		return "", nil
	}
	text := "Waiting for what it depends on: " + strings.Join(waiting, ", ") + "."
	f.dependencies = &text
	return text, nil
}

const notHere = "not on this cluster yet"

// unmet is why a prerequisite does not let its dependant begin, empty if it does.
func unmet(neighbours map[string]*configv1beta1.ClusterSummary, dependant, name string) string {
	if cycle := dependency.Cycle(dependant, dependsOn(neighbours)); slices.Contains(cycle, name) {
		return "which depends on this one in turn: " + strings.Join(cycle, " → ")
	}
	prerequisite := neighbours[name]
	switch {
	case prerequisite == nil:
		return notHere
	case prerequisite.Spec.Withdraw || !prerequisite.DeletionTimestamp.IsZero():
		return "being withdrawn"
	case wasReady(prerequisite):
		return ""
	}
	ready := meta.FindStatusCondition(prerequisite.Status.Conditions, configv1beta1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != prerequisite.Generation {
		return "not deployed yet"
	}
	return "not deployed: " + ready.Reason
}

// dependsOn reads what profiles depend on from their summaries on one cluster.
func dependsOn(neighbours map[string]*configv1beta1.ClusterSummary) func(string) []string {
	return func(name string) []string {
		if summary := neighbours[name]; summary != nil {
			return summary.Spec.ClusterProfileSpec.DependsOn
		}
		return nil
	}
}

// dependantsHere are the profiles on a summary's cluster that depend on its own and are
// not withdrawn from there yet. Those that it depends on in turn do not count: neither
// would ever go.
func (r *Reconciler) dependantsHere(ctx context.Context, summary *configv1beta1.ClusterSummary) ([]string, error) {
	owner, err := ownerOf(summary)
	if err != nil {
		return nil, err
	}
	neighbours, err := r.neighbours(ctx, summary, owner)
	if err != nil {
		return nil, err
	}
	cycle := dependency.Cycle(owner.Name, dependsOn(neighbours))
	var names []string
	for name, other := range neighbours {
		if name != owner.Name && slices.Contains(other.Spec.ClusterProfileSpec.DependsOn, owner.Name) && !slices.Contains(cycle, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// onNeighbour wakes what waits for a summary, or may not wait for it any more: the
// summaries on the same cluster whose profiles depend on its own, and those that its own
// depends on.
func (r *Reconciler) onNeighbour() handler.TypedEventHandler[*configv1beta1.ClusterSummary, reconcile.Request] {
	wake := func(ctx context.Context, summary *configv1beta1.ClusterSummary, q queue) {
		owner, err := ownerOf(summary)
		if err != nil {
			return
		}
		neighbours, err := r.neighbours(ctx, summary, owner)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Waking what waits for a ClusterSummary", "summary", klog.KObj(summary))
			return
		}
		for name, other := range neighbours {
			if slices.Contains(other.Spec.ClusterProfileSpec.DependsOn, owner.Name) || slices.Contains(summary.Spec.ClusterProfileSpec.DependsOn, name) {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(other)})
			}
		}
	}
	return handler.TypedFuncs[*configv1beta1.ClusterSummary, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*configv1beta1.ClusterSummary], q queue) {
			if !e.IsInInitialList {
				wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*configv1beta1.ClusterSummary], q queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation || !sameReadiness(e.ObjectOld, e.ObjectNew) ||
				e.ObjectOld.DeletionTimestamp.IsZero() != e.ObjectNew.DeletionTimestamp.IsZero() {
				wake(ctx, e.ObjectOld, q) // what it depended on may be free now
				wake(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*configv1beta1.ClusterSummary], q queue) {
			wake(ctx, e.Object, q)
		},
	}
}

func sameReadiness(a, b *configv1beta1.ClusterSummary) bool {
	return apiequality.Semantic.DeepEqual(meta.FindStatusCondition(a.Status.Conditions, configv1beta1.ConditionReady),
		meta.FindStatusCondition(b.Status.Conditions, configv1beta1.ConditionReady))
}

// onProfile wakes the summaries of a profile that is paused, or not any more, or asks for
// another pass.
func onProfile[P client.Object](r *Reconciler, kind string) handler.TypedEventHandler[P, reconcile.Request] {
	return handler.TypedFuncs[P, reconcile.Request]{
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[P], q queue) {
			none := &metav1.PartialObjectMetadata{}
			if pause.OfSummary(none, e.ObjectOld) == pause.OfSummary(none, e.ObjectNew) &&
				e.ObjectOld.GetAnnotations()[libv1beta1.AnnotationRetrigger] == e.ObjectNew.GetAnnotations()[libv1beta1.AnnotationRetrigger] {
				return
			}
			summaries, err := profile.Summaries(ctx, r.Client, profile.Key{Kind: kind, Namespace: e.ObjectNew.GetNamespace(), Name: e.ObjectNew.GetName()})
			if err != nil {
				klog.FromContext(ctx).Error(err, "Waking the ClusterSummaries of a profile", "profile", klog.KObj(e.ObjectNew))
			}
			for i := range summaries {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&summaries[i])})
			}
		},
	}
}
