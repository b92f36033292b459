// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/revision"
)

func (r *Reconciler) withdraw(ctx context.Context, actor actor, owner inventory.Owner, behavior deploy.Behavior, o *outcome) error {
	result, err := r.Deployer.Withdraw(ctx, actor.target, owner.Key(), behavior)
	r.wake(ctx, actor.target.Ref, result.Requeue)
	if err == nil {
		err = r.withdrawLocal(ctx, actor, owner.Key(), behavior)
	}
	if err != nil {
		return err
	}
	o.withdrawn = true
	return nil
}

// isWithdrawal tells a summary that the profile controller takes back, or whose
// profile is going or gone, from one that somebody deleted by hand.
func (r *Reconciler) isWithdrawal(ctx context.Context, summary *configv1beta1.ClusterSummary) (bool, error) {
	if summary.Spec.Withdraw {
		return true, nil
	}
	if summary.DeletionTimestamp.IsZero() {
		return false, nil
	}
	owner, err := ownerOf(summary)
	if err != nil {
		return false, err
	}
	exists, deleting, err := profile.Exists(ctx, r.Client, profileKey(owner.Key()))
	if err == nil && (!exists || deleting) {
		// What follows deletes content: not because a cache is behind.
		exists, deleting, err = profile.Exists(ctx, r.Live, profileKey(owner.Key()))
	}
	return err == nil && (!exists || deleting), err
}

// revisionLostError says that nothing tells whether content is deleted or left.
type revisionLostError struct{ err error }

func (e *revisionLostError) Error() string {
	return fmt.Sprintf("whether the content is deleted or left is in the profile's spec, which is lost (%v): nothing is deleted; annotate this ClusterSummary with %s=%s or =%s",
		e.err, configv1beta1.StopMatchingBehaviorAnnotation, configv1beta1.WithdrawPolicies, configv1beta1.LeavePolicies)
}

func (e *revisionLostError) Unwrap() error { return e.err }

// behaviorOf is what a withdrawal does with the content, as the profile's revision
// says, or why that could not be read. A revision that is lost stays lost: then a
// person has to say it, because a guess would delete what should stay, or leave
// what nobody would ever find again.
func behaviorOf(summary *configv1beta1.ClusterSummary, r revision.Revision, err error) (deploy.Behavior, error) {
	if err == nil {
		return deploy.Behavior(r.Spec.StopMatchingBehavior), nil
	}
	if !errors.Is(err, revision.ErrNotFound) && !errors.Is(err, revision.ErrDamaged) {
		return "", err
	}
	switch behavior := deploy.Behavior(summary.Annotations[configv1beta1.StopMatchingBehaviorAnnotation]); behavior {
	case deploy.WithdrawPolicies, deploy.LeavePolicies:
		return behavior, nil
	}
	return "", &revisionLostError{err}
}
