// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/progress"
)

// setProgress counts the clusters that have everything, and says whether the
// profile goes on by itself: it does while it does so on any cluster that answers,
// and is stuck when what is left needs a person somewhere.
func setProgress(status *configv1beta1.ProfileStatus, summaries []configv1beta1.ClusterSummary, failed error) {
	status.ProvisionedClusterCount = 0
	working, waiting := false, false
	stuck := ""
	if refused, _ := apart(failed); refused != nil {
		stuck = refused.Error()
	}
	for i := range summaries {
		summary := &summaries[i]
		if summary.Spec.Withdraw || !summary.DeletionTimestamp.IsZero() {
			continue
		}
		ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
		current := ready != nil && ready.ObservedGeneration == summary.Generation
		switch {
		case current && ready.Status == metav1.ConditionTrue:
			status.ProvisionedClusterCount++
		case current && (ready.Reason == configv1beta1.ReasonClusterUnreachable || ready.Reason == configv1beta1.ReasonPaused):
			waiting = true
		case current && progress.Of(summary.Status.Conditions) == progress.Stuck:
			if stuck == "" {
				stuck = fmt.Sprintf("%s: %s", clusterref.OfSummary(summary), ready.Message)
			}
		default:
			working = true
		}
	}
	ready := meta.FindStatusCondition(status.Conditions, configv1beta1.ConditionReady)
	switch {
	case ready == nil || ready.Status == metav1.ConditionTrue || ready.Reason == configv1beta1.ReasonNoMatchingClusters:
		progress.Set(&status.Conditions, progress.Settled, "")
	case stuck != "" && !working:
		progress.Set(&status.Conditions, progress.Stuck, stuck)
	case working || waiting || status.ProvisionedClusterCount < status.MatchingClusterCount:
		progress.Set(&status.Conditions, progress.Working, "")
	default:
		progress.Set(&status.Conditions, progress.Settled, "")
	}
}
