// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/pause"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
)

// keptRevisions is how many revisions a profile keeps beside those in use where there
// is no history to say so.
const keptRevisions = 10

// Members looks up registered clusters. *selection.Index does.
type Members interface {
	Members(selector labels.Selector, namespace string) []fleet.Member
	Member(ref fleet.Ref) (fleet.Member, bool)
}

// Reconciler keeps the ClusterSummaries of profiles.
type Reconciler struct {
	// Client reads from a cache and writes through the gate; Live reads summaries as
	// they are.
	Client client.Client
	Live   client.Reader
	// Uncached says that Client is no cache, and has none of its indexes.
	Uncached bool
	// Members has been filled before the reconciler starts: an empty fleet means
	// that no cluster is registered.
	Members Members
	// WaitCurrent returns when Members has reached the store's current revision.
	WaitCurrent func(context.Context) (int64, error)
	Revisions   *revision.Store
	// History is told what profiles become, nil if none is kept.
	History *history.Store
	// Events go to the host cluster.
	Events events.EventRecorder
	// Now is the clock.
	Now func() time.Time

	mu sync.Mutex
	// refused is what was logged of refusals, by profile.
	refused map[Key]string
}

// Reconcile brings the summaries and the status of one profile in line.
func (r *Reconciler) Reconcile(ctx context.Context, key Key) (reconcile.Result, error) {
	p, err := get(ctx, r.Client, key)
	if apierrors.IsNotFound(err) {
		r.noteRefused(ctx, key, nil)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	p = p.deepCopy()
	if reason := pause.OfProfile(p.Object); reason.Paused() {
		return reconcile.Result{}, r.writePaused(ctx, p, reason)
	}
	summaries, err := r.summaries(ctx, key)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !p.GetDeletionTimestamp().IsZero() {
		return reconcile.Result{}, r.reconcileDelete(ctx, p, summaries)
	}
	retry, err := r.reconcileNormal(ctx, p, summaries)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: retry}, nil
}

// summaries reads the summaries that a profile has: from the cache, if there is one.
func (r *Reconciler) summaries(ctx context.Context, key Key) ([]configv1beta1.ClusterSummary, error) {
	if r.Uncached {
		return r.storedSummaries(ctx, key)
	}
	return Summaries(ctx, r.Client, key)
}

// storedSummaries reads a profile's summaries from the store.
func (r *Reconciler) storedSummaries(ctx context.Context, key Key) ([]configv1beta1.ClusterSummary, error) {
	list := &configv1beta1.ClusterSummaryList{}
	if err := r.Live.List(ctx, list, client.InNamespace(key.Namespace), client.MatchingLabels(profileLabel(key))); err != nil {
		return nil, fmt.Errorf("listing the ClusterSummaries of %s %s: %w", key.Kind, key.Name, err)
	}
	return slices.DeleteFunc(list.Items, func(s configv1beta1.ClusterSummary) bool { return ownerIndexValue(&s) != indexValue(key) }), nil
}

// reconcileNormal returns when to look again, zero if only a change makes that
// necessary.
func (r *Reconciler) reconcileNormal(ctx context.Context, p profile, summaries []configv1beta1.ClusterSummary) (retry time.Duration, err error) {
	// Before the first summary, so that a profile that is deleted at once cannot
	// leave one behind.
	if controllerutil.AddFinalizer(p.Object, p.finalizer) {
		if err := r.Client.Update(ctx, p.Object); err != nil {
			return 0, fmt.Errorf("adding the finalizer to %s %s: %w", p.kind, p.GetName(), err)
		}
	}
	m, err := r.matching(ctx, p, summaries)
	if err != nil {
		return 0, err
	}
	revisionName, created, err := r.revise(ctx, p, summaries)
	if err != nil {
		return 0, err
	}
	turn, err := r.rollOut(ctx, p, &m, summaries, revisionName)
	if err != nil {
		return 0, err
	}
	failed := r.reconcileSummaries(ctx, p, m, summaries, revisionName)
	refused, others := apart(failed)
	retry = soonest(r.noteRefused(ctx, p.key(), refused), turn)
	err = errors.Join(others, r.writeStatus(ctx, p, m, summaries, failed))
	if err != nil || !created {
		return retry, err
	}
	return retry, r.trim(ctx, p, summaries, revisionName)
}

// reconcileSummaries puts the profile on the clusters that it is for before it
// takes it from those that it is not: a fail-over waits for nothing. Where it
// could not be put on one of them it is taken from none, which might be the one
// that stands in.
func (r *Reconciler) reconcileSummaries(ctx context.Context, p profile, m matching, summaries []configv1beta1.ClusterSummary, revisionName string) error {
	existing := make(map[fleet.Ref]*configv1beta1.ClusterSummary, len(summaries))
	for i := range summaries {
		existing[clusterref.OfSummary(&summaries[i])] = &summaries[i]
	}
	if err := r.ensure(ctx, p, m.clusters, existing, revisionName); err != nil {
		return err
	}
	matched := make(map[fleet.Ref]bool, len(m.clusters))
	for _, c := range m.clusters {
		matched[c.member.Ref] = true
	}
	for i := range summaries {
		if matched[clusterref.OfSummary(&summaries[i])] {
			continue
		}
		if err := r.withdraw(ctx, p, &summaries[i], revisionName); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) reconcileDelete(ctx context.Context, p profile, summaries []configv1beta1.ClusterSummary) error {
	if !controllerutil.ContainsFinalizer(p.Object, p.finalizer) {
		return nil
	}
	if len(summaries) == 0 {
		// What follows forgets how to withdraw: not because a cache is behind.
		var err error
		if summaries, err = r.storedSummaries(ctx, p.key()); err != nil {
			return err
		}
	}
	if len(summaries) > 0 {
		revisionName, _, err := r.Revisions.Ensure(ctx, p.key(), p.spec, r.Now())
		if err != nil {
			return err
		}
		for i := range summaries {
			if err := r.withdraw(ctx, p, &summaries[i], revisionName); err != nil {
				return err
			}
		}
		return r.writeStatus(ctx, p, matching{}, summaries, nil)
	}
	if err := r.Revisions.Trim(ctx, p.key(), nil, 0); err != nil {
		return err
	}
	if r.History != nil {
		if err := r.History.Forget(ctx, p.key()); err != nil {
			return err
		}
	}
	controllerutil.RemoveFinalizer(p.Object, p.finalizer)
	if err := r.Client.Update(ctx, p.Object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the finalizer of %s %s: %w", p.kind, p.GetName(), err)
	}
	return nil
}

// matching gathers what decides where the profile goes, and decides it.
func (r *Reconciler) matching(ctx context.Context, p profile, summaries []configv1beta1.ClusterSummary) (matching, error) {
	// What woke the reconciler came through another watch than Members follows,
	// and nothing would wake it again when Members has caught up.
	if _, err := r.WaitCurrent(ctx); err != nil {
		return matching{}, fmt.Errorf("waiting for the index: %w", err)
	}
	in := inputs{
		namespace: p.GetNamespace(),
		refs:      p.spec.ClusterRefs,
		setKind:   configv1beta1.MatchCauseKind(p.setKind()),
		setNames:  p.spec.SetRefs,
		sets:      map[string]set{},
		member:    r.Members.Member,
		summaries: summaries,
	}
	selector, err := metav1.LabelSelectorAsSelector(&p.spec.ClusterSelector)
	if err != nil {
		return matching{}, fmt.Errorf("reading spec.clusterSelector of %s %s: %w", p.kind, p.GetName(), err)
	}
	if !selector.Empty() {
		in.bySelector = r.Members.Members(selector, p.GetNamespace())
	}
	for _, name := range p.spec.SetRefs {
		if in.sets[name], err = readSet(ctx, r.Client, p, name); err != nil {
			return matching{}, err
		}
	}
	if in.dependants, err = r.dependants(ctx, p); err != nil {
		return matching{}, err
	}
	out := resolve(in)
	out.dependencies, err = r.dependencies(ctx, p)
	return out, err
}

// readSet reads the persisted selection of a set.
func readSet(ctx context.Context, reader client.Reader, p profile, name string) (set, error) {
	var object client.Object
	var status *libv1beta1.ClusterSetStatus
	if p.setKind() == libv1beta1.KindSet {
		s := &libv1beta1.Set{}
		object, status = s, &s.Status
	} else {
		s := &libv1beta1.ClusterSet{}
		object, status = s, &s.Status
	}
	err := reader.Get(ctx, types.NamespacedName{Namespace: p.GetNamespace(), Name: name}, object)
	if apierrors.IsNotFound(err) {
		return set{}, nil
	}
	if err != nil {
		return set{}, fmt.Errorf("reading %s %s: %w", p.setKind(), name, err)
	}
	if !object.GetDeletionTimestamp().IsZero() || status.ObservedGeneration == 0 {
		return set{}, nil
	}
	return set{resolved: true, selected: clusterref.FromObjects(status.SelectedClusterRefs, p.GetNamespace())}, nil
}

// writeStatus brings the status in line. failed is why summaries could not be
// made what they should be, nil if they are.
func (r *Reconciler) writeStatus(ctx context.Context, p profile, m matching, summaries []configv1beta1.ClusterSummary, failed error) error {
	status := desiredStatus(p, m, summaries, failed)
	setFlow(&status, p, m)
	if apiequality.Semantic.DeepEqual(*p.status, status) {
		return nil
	}
	before := p.status.DeepCopy()
	*p.status = status
	if err := r.Client.Status().Update(ctx, p.Object); err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", p.kind, p.GetName(), err)
	}
	r.announce(p, before.Conditions)
	return nil
}

// announce tells in an event of each condition that turned bad.
func (r *Reconciler) announce(p profile, before []metav1.Condition) {
	for _, condition := range p.status.Conditions {
		bad := condition.Status == metav1.ConditionFalse
		if condition.Type == configv1beta1.ConditionConflict {
			bad = condition.Status == metav1.ConditionTrue
		}
		if condition.Type == configv1beta1.ConditionReady {
			bad = bad && condition.Reason == configv1beta1.ReasonFailed
		}
		was := meta.FindStatusCondition(before, condition.Type)
		if !bad || (was != nil && was.Status == condition.Status && was.Reason == condition.Reason) {
			continue
		}
		r.Events.Eventf(p.Object, nil, corev1.EventTypeWarning, condition.Reason, "Match", "%s", condition.Message)
	}
}

// trim forgets old revisions. What a summary still has is kept however old.
func (r *Reconciler) trim(ctx context.Context, p profile, summaries []configv1beta1.ClusterSummary, revisionName string) error {
	used := inUse(summaries)
	used[revisionName] = true
	if r.History == nil {
		return r.Revisions.Trim(ctx, p.key(), used, keptRevisions)
	}
	recorded, err := r.History.Revisions(ctx, p.key())
	if err != nil {
		return err
	}
	maps.Copy(used, recorded)
	return r.Revisions.Trim(ctx, p.key(), used, 0)
}
