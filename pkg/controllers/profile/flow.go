// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/pause"
)

// writePaused says that nothing is done for the profile, and leaves the rest of its status
// as it was. Deleting it does nothing either until it is not paused any more: what runs is
// left alone.
func (r *Reconciler) writePaused(ctx context.Context, p profile, reason pause.Reason) error {
	status := *p.status.DeepCopy()
	status.ReconciliationSuspended, status.SuspensionReason = true, &reason.Text
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: configv1beta1.ConditionPaused, Status: metav1.ConditionTrue, Reason: configv1beta1.ReasonPaused,
		Message: "Nothing is deployed or withdrawn: " + reason.Text + ".", ObservedGeneration: p.GetGeneration(),
	})
	if apiequality.Semantic.DeepEqual(*p.status, status) {
		return nil
	}
	*p.status = status
	if err := r.Client.Status().Update(ctx, p.Object); err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", p.kind, p.GetName(), err)
	}
	return nil
}

// setFlow says in the status of a profile that is reconciled what it waits for.
func setFlow(status *configv1beta1.ProfileStatus, p profile, m matching) {
	status.ReconciliationSuspended, status.SuspensionReason = false, nil
	meta.RemoveStatusCondition(&status.Conditions, configv1beta1.ConditionPaused)
	m.dependencies.set(status, p)
	m.rollout.set(status)
}

// soonest is the shorter of two times after which to look again, of which zero is never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Read reads a profile of either kind, nil if there is none.
func Read(ctx context.Context, reader client.Reader, key Key) (client.Object, error) {
	p, err := get(ctx, reader, key)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	if err != nil {
		return nil, nil
	}
	return p.Object, nil
}

// Summaries reads the summaries that a profile has, from a cache that SetupWithManager
// has indexed.
func Summaries(ctx context.Context, reader client.Reader, key Key) ([]configv1beta1.ClusterSummary, error) {
	list := &configv1beta1.ClusterSummaryList{}
	if err := reader.List(ctx, list, client.MatchingFields{ownerIndex: indexValue(key)}); err != nil {
		return nil, fmt.Errorf("listing the ClusterSummaries of %s %s: %w", key.Kind, key.Name, err)
	}
	return list.Items, nil
}
