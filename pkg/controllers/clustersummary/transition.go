// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func profileKey(owner inventory.OwnerKey) profile.Key {
	return profile.Key{Kind: owner.Kind, Namespace: owner.Namespace, Name: owner.Name}
}

// successorError says that a withdrawal waits for the profile that takes over.
type successorError struct {
	successor profile.Key
	why       string
}

func (e *successorError) Error() string {
	return fmt.Sprintf("%s %s takes over here (transitionFrom) and %s: nothing is withdrawn until it is known what it takes", e.successor.Kind, e.successor.Name, e.why)
}

// awaitSuccessors returns an error while a profile that takes over from a summary's own
// on its cluster has not asked for what it takes. What it has asked for by then goes to
// it instead of being deleted.
func (r *Reconciler) awaitSuccessors(ctx context.Context, summary *configv1beta1.ClusterSummary, owner inventory.OwnerKey) error {
	// Not from the cache: it may be behind what made the profile leave the cluster.
	cluster, err := r.cluster(ctx, r.Live, summary)
	if err != nil {
		return err
	}
	if cluster == nil {
		return errHeld // it was deregistered, which leaves what is there
	}
	successors, err := profile.Successors(ctx, r.Client, profileKey(owner), cluster)
	if err != nil || len(successors) == 0 {
		return err
	}
	summaries, err := r.summariesOf(ctx, clusterref.OfSummary(summary))
	if err != nil {
		return err
	}
	for _, successor := range successors {
		i := slices.IndexFunc(summaries, func(s configv1beta1.ClusterSummary) bool {
			by, err := ownerOf(&s)
			return err == nil && profileKey(by.Key()) == successor
		})
		if i < 0 {
			return &successorError{successor, "has not begun"}
		}
		why, err := r.notReadyToTakeOver(&summaries[i], cluster)
		if err != nil {
			return err
		}
		if why != "" {
			return &successorError{successor, why}
		}
	}
	return nil
}

// notReadyToTakeOver says why it is not known what the profile of a summary wants on the
// cluster, nothing if it is.
func (r *Reconciler) notReadyToTakeOver(next *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (string, error) {
	if next.Spec.Withdraw || !next.DeletionTimestamp.IsZero() {
		return "is being withdrawn itself, to begin anew", nil
	}
	if deployedOnce(next) {
		return "", nil
	}
	print, err := fingerprint(next, cluster)
	if err != nil {
		return "", err
	}
	last, _ := r.memory.last(client.ObjectKeyFromObject(next), next.UID)
	switch {
	case last == nil || last.fingerprint != print:
		return "has not been deployed yet", nil
	case last.err != nil || !knowsWhatItWants(last.result):
		return "cannot be deployed", nil
	}
	return "", nil
}

// knowsWhatItWants reports whether a pass has asked for everything that its profile is to
// have: what others have may be missing yet, and nothing else.
func knowsWhatItWants(result deploy.Result) bool {
	for _, feature := range result.Features {
		if !onlyMissesOthers(feature.Err) {
			return false
		}
	}
	return true
}

// onlyMissesOthers reports whether nothing is wrong but that others have something, also
// where that was given up.
func onlyMissesOthers(err error) bool {
	for _, leaf := range leaves(err) {
		switch leaf := leaf.(type) {
		case *deploy.ConflictError, *deploy.WaitingError:
		case *deploy.ReleaseError: // that of a chart names the release around its cause
			if !onlyMissesOthers(leaf.Err) {
				return false
			}
		case *finalError:
			if !onlyMissesOthers(leaf.err) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// wakePredecessor wakes the withdrawal that may wait for a summary's job, which has ended.
func (r *Reconciler) wakePredecessor(ctx context.Context, summary *configv1beta1.ClusterSummary) {
	from := summary.Spec.ClusterProfileSpec.TransitionFrom
	owner, err := ownerOf(summary)
	if from == "" || err != nil {
		return
	}
	predecessor := inventory.OwnerKey{Kind: owner.Kind, Namespace: owner.Namespace, Name: from}
	summaries, err := r.summariesOf(ctx, clusterref.OfSummary(summary))
	if err != nil {
		klog.FromContext(ctx).Error(err, "Waking the profile that something is taken over from", "profile", predecessor)
		return
	}
	for i := range summaries {
		leaving := summaries[i].Spec.Withdraw || !summaries[i].DeletionTimestamp.IsZero()
		if by, err := ownerOf(&summaries[i]); err != nil || !leaving || by.Key() != predecessor {
			continue
		}
		name := client.ObjectKeyFromObject(&summaries[i])
		r.memory.due(name)
		r.Trigger.Trigger(reconcile.Request{NamespacedName: name})
	}
}
