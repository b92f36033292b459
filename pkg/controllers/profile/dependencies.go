// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/dependency"
	"github.com/muster-project/muster/pkg/fleet"
)

// dependant is a profile that depends on another one, directly or through others, and the
// clusters that it is for on its own account. Those that it is for as a prerequisite do
// not count: profiles that depend on each other would keep each other deployed for ever.
type dependant struct {
	name     string
	clusters []fleet.Ref
}

// dependencies is what is wrong with the profiles that one depends on.
type dependencies struct {
	// missing do not exist, or are being deleted.
	missing []string
	// cycle leads from the profile back to itself, nil if it does not.
	cycle []string
}

// siblings are the dependencies of the profiles that can depend on each other: those of
// one kind, and of one namespace.
func (r *Reconciler) siblings(ctx context.Context, p profile) (map[string][]string, error) {
	all, err := list(ctx, r.Client, client.InNamespace(p.GetNamespace()), client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(all))
	for _, other := range all {
		if other.kind == p.kind && other.GetNamespace() == p.GetNamespace() {
			out[other.GetName()] = other.spec.DependsOn
		}
	}
	return out, nil
}

// dependants finds those that depend on a profile, in the order of their names.
func (r *Reconciler) dependants(ctx context.Context, p profile) ([]dependant, error) {
	siblings, err := r.siblings(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []dependant
	for _, name := range dependency.Dependants(siblings, p.GetName()) {
		key := p.key()
		key.Name = name
		summaries, err := r.summaries(ctx, key)
		if err != nil {
			return nil, err
		}
		found := dependant{name: name}
		for i := range summaries {
			if !summaries[i].Spec.Withdraw && slices.ContainsFunc(summaries[i].Spec.MatchedBy, ownCause) {
				found.clusters = append(found.clusters, clusterref.OfSummary(&summaries[i]))
			}
		}
		out = append(out, found)
	}
	return out, nil
}

func ownCause(cause configv1beta1.MatchCause) bool {
	return cause.Kind != configv1beta1.MatchCauseDependant
}

// dependencies says what is wrong with those that a profile depends on.
func (r *Reconciler) dependencies(ctx context.Context, p profile) (dependencies, error) {
	var out dependencies
	if len(p.spec.DependsOn) == 0 {
		return out, nil
	}
	for _, name := range p.spec.DependsOn {
		key := p.key()
		key.Name = name
		exists, deleting, err := Exists(ctx, r.Client, key)
		if err != nil {
			return out, err
		}
		if !exists || deleting {
			out.missing = append(out.missing, name)
		}
	}
	siblings, err := r.siblings(ctx, p)
	if err != nil {
		return out, err
	}
	out.cycle = dependency.Cycle(p.GetName(), func(name string) []string { return siblings[name] })
	return out, nil
}

// set says it in a status.
func (d dependencies) set(status *configv1beta1.ProfileStatus, p profile) {
	status.DependenciesHash = nil
	if len(p.spec.DependsOn) == 0 {
		meta.RemoveStatusCondition(&status.Conditions, configv1beta1.ConditionDependenciesResolved)
		return
	}
	sum := sha256.Sum256([]byte(strings.Join(p.spec.DependsOn, "\n")))
	status.DependenciesHash = sum[:]
	condition := resolvedCondition(configv1beta1.ConditionDependenciesResolved, configv1beta1.ReasonDependencyMissing, d.missing,
		"%s %s: no such "+p.kind+" exists, or it is being deleted. This one waits for it on every cluster where it is not deployed yet.")
	if len(d.cycle) > 0 {
		condition.Status, condition.Reason = metav1.ConditionFalse, configv1beta1.ReasonDependencyCycle
		condition.Message = fmt.Sprintf("It depends on itself: %s. Each waits for the next; take one of them out of dependsOn.", strings.Join(d.cycle, " → "))
	}
	condition.ObservedGeneration = p.GetGeneration()
	meta.SetStatusCondition(&status.Conditions, condition)
}

// prerequisites are the profiles that a summary's profile depends on, through others too:
// where the one goes they follow.
func (r *Reconciler) prerequisites(ctx context.Context, summary *configv1beta1.ClusterSummary) []Key {
	dependsOn := summary.Spec.ClusterProfileSpec.DependsOn
	if len(dependsOn) == 0 {
		return nil
	}
	var keys []Key
	for _, owner := range ownerKeys(summary) {
		seen := map[string]bool{owner.Name: true}
		for queue := slices.Clone(dependsOn); len(queue) > 0 && len(seen) < dependency.MaxProfiles; queue = queue[1:] {
			if seen[queue[0]] {
				continue
			}
			seen[queue[0]] = true
			key := owner
			key.Name = queue[0]
			keys = append(keys, key)
			next, err := get(ctx, r.Client, key)
			if client.IgnoreNotFound(err) != nil {
				klog.FromContext(ctx).Error(err, "Looking for what a profile depends on", "profile", key)
			}
			if err == nil {
				queue = append(queue, next.spec.DependsOn...)
			}
		}
	}
	return keys
}

// onDependency wakes the profiles that depend on one that comes, goes, or depends on
// others than before.
func onDependency[P client.Object](r *Reconciler, of func(P) profile) handler.TypedEventHandler[P, Key] {
	wake := func(ctx context.Context, object P, q queue) {
		changed := of(object)
		r.wake(ctx, q, func(p profile) bool {
			return p.kind == changed.kind && p.GetNamespace() == changed.GetNamespace() && slices.Contains(p.spec.DependsOn, changed.GetName())
		})
	}
	return handler.TypedFuncs[P, Key]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[P], q queue) {
			if !e.IsInInitialList {
				wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[P], q queue) {
			if !slices.Equal(of(e.ObjectOld).spec.DependsOn, of(e.ObjectNew).spec.DependsOn) ||
				e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() {
				wake(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[P], q queue) { wake(ctx, e.Object, q) },
	}
}
