// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/brief"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
)

const (
	// maxListed bounds the lists in a status; the count beside them is complete.
	maxListed = 500
	// maxFailure bounds what each failed cluster says, in bytes: all of them have
	// to fit into what etcd takes. The cluster's own summary says more.
	maxFailure = 512
)

// desiredStatus is what a profile's status says, given where it matches, how far
// its summaries are, and why they are not what they should be.
func desiredStatus(p profile, m matching, summaries []configv1beta1.ClusterSummary, failed error) configv1beta1.ProfileStatus {
	status := *p.status.DeepCopy()
	status.ObservedGeneration = p.GetGeneration()
	status.MatchingClusters = nil
	for _, c := range m.clusters[:min(len(m.clusters), maxListed)] {
		status.MatchingClusters = append(status.MatchingClusters, clusterref.Object(c.member.Ref))
	}
	status.MatchingClusterCount = int32(len(m.clusters))
	status.FailedClusters = failedClusters(summaries)

	set := func(condition metav1.Condition) {
		condition.ObservedGeneration = p.GetGeneration()
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	set(inDryRun(p, readyCondition(m, summaries, failed)))
	set(resolvedCondition(configv1beta1.ConditionSetsResolved, configv1beta1.ReasonSetMissing, m.unresolvedSets,
		"%s %s: missing, being deleted, or not evaluated yet. The clusters that the profile has because of it stay as they are."))
	set(resolvedCondition(configv1beta1.ConditionClustersResolved, configv1beta1.ReasonClusterMissing, m.missingClusters,
		"%s %s: no such SveltosCluster is registered."))
	set(conflictCondition(summaries))
	setProgress(&status, summaries, failed)
	return status
}

func failedClusters(summaries []configv1beta1.ClusterSummary) []configv1beta1.FailedCluster {
	var failed []configv1beta1.FailedCluster
	for i := range summaries {
		ready := meta.FindStatusCondition(summaries[i].Status.Conditions, configv1beta1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionFalse || !configv1beta1.IsFailure(ready.Reason) || summaries[i].Spec.Withdraw {
			continue
		}
		failed = append(failed, configv1beta1.FailedCluster{
			ClusterRef:      clusterref.Object(clusterref.OfSummary(&summaries[i])),
			FailureMessage:  brief.Text(ready.Message, maxFailure),
			LastFailureTime: &ready.LastTransitionTime,
		})
	}
	slices.SortFunc(failed, func(a, b configv1beta1.FailedCluster) int {
		return cmp.Or(cmp.Compare(a.ClusterRef.Namespace, b.ClusterRef.Namespace), cmp.Compare(a.ClusterRef.Name, b.ClusterRef.Name))
	})
	return failed[:min(len(failed), maxListed)]
}

// readyCondition is true when every matching cluster has everything and no
// other cluster has anything left.
func readyCondition(m matching, summaries []configv1beta1.ClusterSummary, failed error) metav1.Condition {
	condition := metav1.Condition{Type: configv1beta1.ConditionReady, Status: metav1.ConditionFalse}
	provisioned, withdrawing := 0, 0
	held := m.held()
	var firstFailure string
	if refused := (*refusedError)(nil); errors.As(failed, &refused) {
		firstFailure = refused.Error()
	}
	for i := range summaries {
		ready := meta.FindStatusCondition(summaries[i].Status.Conditions, configv1beta1.ConditionReady)
		switch {
		case summaries[i].Spec.Withdraw || !summaries[i].DeletionTimestamp.IsZero():
			withdrawing++
		case ready == nil || ready.ObservedGeneration != summaries[i].Generation || held[clusterref.OfSummary(&summaries[i])]:
		case ready.Status == metav1.ConditionTrue:
			provisioned++
		case configv1beta1.IsFailure(ready.Reason) && firstFailure == "":
			firstFailure = fmt.Sprintf("%s: %s", clusterref.OfSummary(&summaries[i]), ready.Message)
		}
	}
	progress := fmt.Sprintf("%d of %d clusters have everything", provisioned, len(m.clusters))
	if withdrawing > 0 {
		progress += fmt.Sprintf(", %d are being withdrawn from", withdrawing)
	}
	if len(held) > 0 {
		progress += fmt.Sprintf(", %d wait for their turn (maxUpdate)", len(held))
	}
	condition.Message = progress
	switch {
	case firstFailure != "":
		condition.Reason, condition.Message = configv1beta1.ReasonFailed, progress+"; "+firstFailure
	case len(m.clusters) == 0 && withdrawing == 0:
		condition.Reason, condition.Message = configv1beta1.ReasonNoMatchingClusters, "no cluster matches"
	case provisioned < len(m.clusters):
		condition.Reason = configv1beta1.ReasonProvisioning
	case withdrawing > 0:
		// What should run runs; a dead cluster that still has to be cleaned
		// up is no reason to hold back whoever waits for this profile.
		condition.Status, condition.Reason = metav1.ConditionTrue, configv1beta1.ReasonWithdrawing
	default:
		condition.Status, condition.Reason = metav1.ConditionTrue, configv1beta1.ReasonProvisioned
	}
	return condition
}

// inDryRun says of a profile in mode DryRun that it is: it never has everything.
func inDryRun(p profile, ready metav1.Condition) metav1.Condition {
	if p.spec.SyncMode == configv1beta1.SyncModeDryRun && ready.Reason == configv1beta1.ReasonProvisioning {
		ready.Reason = configv1beta1.ReasonDryRun
		ready.Message = "mode is DryRun: nothing is deployed; ClusterReports say what would be"
	}
	return ready
}

func resolvedCondition(conditionType, reason string, missing []string, format string) metav1.Condition {
	if len(missing) == 0 {
		return metav1.Condition{Type: conditionType, Status: metav1.ConditionTrue, Reason: configv1beta1.ReasonResolved}
	}
	shown := missing[:min(len(missing), 10)]
	return metav1.Condition{
		Type: conditionType, Status: metav1.ConditionFalse, Reason: reason,
		Message: fmt.Sprintf(format, "Not resolved:", strings.Join(shown, ", ")),
	}
}

func conflictCondition(summaries []configv1beta1.ClusterSummary) metav1.Condition {
	for i := range summaries {
		conflict := meta.FindStatusCondition(summaries[i].Status.Conditions, configv1beta1.ConditionConflict)
		if conflict != nil && conflict.Status == metav1.ConditionTrue && !summaries[i].Spec.Withdraw {
			return metav1.Condition{
				Type: configv1beta1.ConditionConflict, Status: metav1.ConditionTrue,
				Reason: configv1beta1.ReasonConflict, Message: conflict.Message,
			}
		}
	}
	return metav1.Condition{Type: configv1beta1.ConditionConflict, Status: metav1.ConditionFalse, Reason: configv1beta1.ReasonNoConflict}
}
