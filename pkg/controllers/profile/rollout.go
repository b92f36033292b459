// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/pause"
	"github.com/muster-project/muster/pkg/fleet"
)

// rolloutPatience is how long a cluster that fails keeps its place when no cluster has
// taken the revision yet: a revision that fails everywhere gets on no faster than this.
const rolloutPatience = 5 * time.Minute

// rollout is how far a revision is that goes to so many clusters at a time. It is found
// in the summaries alone, so that a change of leaders does not matter to it.
type rollout struct {
	revision string
	// updating have the revision and not all of its content yet, updated have it all.
	updating, updated []fleet.Ref
	// again is when a cluster that fails loses its place, zero if none is about to.
	again time.Duration
}

// candidate is a cluster that has, or is to get, a revision.
type candidate struct {
	ref     fleet.Ref
	summary *configv1beta1.ClusterSummary // nil if there is none
	// updatable is true while the cluster is ready and not paused.
	updatable bool
	// frozen says that the summary keeps the revision that it has.
	frozen bool
	// standIn says that it may take over from another cluster.
	standIn bool
}

// place is what a cluster is to a rollout.
type place string

const (
	placePending  place = "Pending"  // it has another revision, or none
	placeUpdating place = "Updating" // it has the revision, and takes up a place
	placePassed   place = "Passed"   // it has the revision, is not done, and takes up none
	placeUpdated  place = "Updated"
	placeLeaving  place = "Leaving" // a withdrawal has to end there first
)

// placeOf says what a cluster is to a rollout. Nothing is being changed where the cluster
// is paused or away or waits for other profiles: it takes up no place.
func placeOf(c candidate, revision string) (where place, failed bool, since time.Time) {
	s := c.summary
	switch {
	case s == nil:
		return placePending, false, since
	case s.Spec.Withdraw || !s.DeletionTimestamp.IsZero():
		return placeLeaving, false, since
	case c.frozen:
		return placeUpdated, false, since
	case s.Spec.ProfileRevision != revision:
		return placePending, false, since
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, configv1beta1.ConditionReady)
	switch {
	case ready == nil || ready.ObservedGeneration != s.Generation:
		return placeUpdating, false, since
	case ready.Status == metav1.ConditionTrue:
		return placeUpdated, false, since
	case !c.updatable, ready.Reason == configv1beta1.ReasonPaused, ready.Reason == configv1beta1.ReasonClusterUnreachable,
		ready.Reason == configv1beta1.ReasonWaitingForPrerequisites:
		return placePassed, false, since
	}
	return placeUpdating, configv1beta1.IsFailure(ready.Reason), ready.LastTransitionTime.Time
}

// planRollout says which clusters have to wait for their turn. At most limit clusters take
// up a place. One that fails gives its place to the next as soon as another cluster has
// taken the revision, which is then not to blame, and otherwise after rolloutPatience. As
// many stand-ins as clusters are replaced wait for nothing.
func planRollout(candidates []candidate, revision string, limit, replaced int, now time.Time) (*rollout, map[fleet.Ref]bool) {
	out, held := &rollout{revision: revision}, map[fleet.Ref]bool{}
	taken, proven := 0, false
	for _, c := range candidates {
		where, _, _ := placeOf(c, revision)
		proven = proven || where == placeUpdated && !c.frozen
	}
	for _, c := range candidates {
		switch where, failed, since := placeOf(c, revision); where {
		case placeUpdated:
			out.updated = append(out.updated, c.ref)
		case placePassed:
			out.updating = append(out.updating, c.ref)
		case placeUpdating:
			out.updating = append(out.updating, c.ref)
			if failed && proven {
				continue
			}
			if left := since.Add(rolloutPatience).Sub(now); failed && left > 0 {
				out.again = soonest(out.again, left)
			} else if failed {
				continue
			}
			taken++
		}
	}
	for _, c := range candidates {
		if where, _, _ := placeOf(c, revision); where != placePending {
			continue
		}
		switch {
		case c.updatable && c.standIn && c.summary == nil && replaced > 0:
			replaced--
		case !c.updatable || taken >= limit:
			held[c.ref] = true
		default:
			taken++
			out.updating = append(out.updating, c.ref)
		}
	}
	return out, held
}

// rollOut marks the clusters that have to wait for their turn, and says when to look
// again.
func (r *Reconciler) rollOut(ctx context.Context, p profile, m *matching, summaries []configv1beta1.ClusterSummary, revisionName string) (time.Duration, error) {
	limit, err := limitOf(p.spec.MaxUpdate, len(m.clusters))
	if err != nil || limit == 0 {
		return 0, err
	}
	existing := map[fleet.Ref]*configv1beta1.ClusterSummary{}
	for i := range summaries {
		existing[clusterref.OfSummary(&summaries[i])] = &summaries[i]
	}
	candidates := make([]candidate, 0, len(m.clusters))
	for _, c := range m.clusters {
		one := candidate{ref: c.member.Ref, summary: existing[c.member.Ref], standIn: fromSet(c.causes)}
		one.frozen = one.summary != nil && frozen(p, one.summary)
		if where, _, _ := placeOf(one, revisionName); where != placeUpdated {
			if one.updatable, err = r.updatableNow(ctx, one.ref); err != nil {
				return 0, err
			}
		}
		candidates = append(candidates, one)
		delete(existing, one.ref)
	}
	replaced := 0
	for _, s := range existing {
		if !s.Spec.Withdraw && fromSet(s.Spec.MatchedBy) {
			replaced++
		}
	}
	plan, held := planRollout(candidates, revisionName, limit, replaced, r.Now())
	for i := range m.clusters {
		m.clusters[i].held = held[m.clusters[i].member.Ref]
	}
	m.rollout = plan
	return plan.again, nil
}

// limitOf is how many of the matching clusters are updated at the same time, zero for all.
func limitOf(value *intstr.IntOrString, matching int) (int, error) {
	if value == nil {
		return 0, nil
	}
	parsed := *value
	if number, err := strconv.Atoi(parsed.StrVal); parsed.Type == intstr.String && err == nil {
		parsed = intstr.FromInt(number)
	}
	limit, err := intstr.GetScaledValueFromIntOrPercent(&parsed, matching, true)
	if err != nil {
		return 0, fmt.Errorf("reading spec.maxUpdate: %w", err)
	}
	return limit, nil
}

// updatableNow reads whether anything can be deployed to a cluster now.
func (r *Reconciler) updatableNow(ctx context.Context, ref fleet.Ref) (bool, error) {
	cluster := &libv1beta1.SveltosCluster{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, cluster)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("reading SveltosCluster %s: %w", ref, err)
	}
	return err == nil && r.updatable(cluster), nil
}

// updatable reports whether anything can be deployed to a cluster now.
func (r *Reconciler) updatable(cluster *libv1beta1.SveltosCluster) bool {
	return cluster.Status.Ready && !pause.OfCluster(cluster, r.Now()).Paused() &&
		!meta.IsStatusConditionTrue(cluster.Status.Conditions, libv1beta1.ConditionPaused)
}

// fromSet reports whether a set is among the causes.
func fromSet(causes []configv1beta1.MatchCause) bool {
	for _, cause := range causes {
		if cause.Kind == configv1beta1.MatchCauseClusterSet || cause.Kind == configv1beta1.MatchCauseSet {
			return true
		}
	}
	return false
}

// held are the clusters that wait for their turn.
func (m matching) held() map[fleet.Ref]bool {
	held := map[fleet.Ref]bool{}
	for _, c := range m.clusters {
		if c.held {
			held[c.member.Ref] = true
		}
	}
	return held
}

// set says it in a status.
func (o *rollout) set(status *configv1beta1.ProfileStatus) {
	status.UpdatingClusters, status.UpdatedClusters = configv1beta1.UpdatingClusters{}, configv1beta1.UpdatingClusters{}
	if o == nil {
		return
	}
	status.UpdatingClusters, status.UpdatedClusters = o.list(o.updating), o.list(o.updated)
}

func (o *rollout) list(refs []fleet.Ref) configv1beta1.UpdatingClusters {
	list := configv1beta1.UpdatingClusters{Hash: []byte(o.revision)}
	for _, ref := range refs[:min(len(refs), maxListed)] {
		list.Clusters = append(list.Clusters, clusterref.Object(ref))
	}
	return list
}
