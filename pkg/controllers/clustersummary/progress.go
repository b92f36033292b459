// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/progress"
)

// setProgress says whether the summary goes on by itself, and what each of its
// features waits for.
func setProgress(status *configv1beta1.ClusterSummaryStatus) {
	progress.Set(&status.Conditions, progressOf(status), bounded(waitsFor(status)))
}

// progressOf derives it from condition Ready. A source that is missing or broken and
// a conflict are looked at again too, and stay what they are until a person changes
// something.
func progressOf(status *configv1beta1.ClusterSummaryStatus) progress.State {
	ready := meta.FindStatusCondition(status.Conditions, configv1beta1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue || ready.Reason == configv1beta1.ReasonPaused {
		return progress.Settled
	}
	switch ready.Reason {
	case configv1beta1.ReasonConflict, configv1beta1.ReasonSourceMissing, configv1beta1.ReasonSourceInvalid, configv1beta1.ReasonRevisionLost:
		return progress.Stuck
	case configv1beta1.ReasonFailed:
		if slices.ContainsFunc(status.FeatureSummaries, func(f configv1beta1.FeatureSummary) bool {
			return f.Status == configv1beta1.FeatureStatusFailedNonRetriable
		}) {
			return progress.Stuck
		}
	}
	return progress.Working
}

// waitsFor names the features that are not deployed, and what is in their way.
func waitsFor(status *configv1beta1.ClusterSummaryStatus) string {
	var waiting []string
	for i := range status.FeatureSummaries {
		f := &status.FeatureSummaries[i]
		if f.Status == configv1beta1.FeatureStatusProvisioned || f.Status == configv1beta1.FeatureStatusRemoved {
			continue
		}
		text := fieldOf(f.FeatureID)
		if f.Status != "" {
			text += " " + string(f.Status)
		}
		if message := ptr.Deref(f.FailureMessage, ""); message != "" {
			text += ": " + message
		}
		waiting = append(waiting, text)
	}
	return strings.Join(waiting, "; ")
}

// fieldOf is the list of a profile that a feature is of.
func fieldOf(id libv1beta1.FeatureID) string {
	switch id {
	case libv1beta1.FeatureResources:
		return "policyRefs"
	case libv1beta1.FeatureHelm:
		return "helmCharts"
	case libv1beta1.FeatureKustomize:
		return "kustomizationRefs"
	}
	return string(id)
}

// Reasons of the events of a feature.
const (
	eventFeatureDeployed = "FeatureDeployed"
	eventFeatureFailed   = "FeatureFailed"
)

// announceFeatures tells in an event of each feature that was deployed or failed
// since before was written. A failure names the objects, and says once what it
// says many times.
func (r *Reconciler) announceFeatures(summary *configv1beta1.ClusterSummary, before *configv1beta1.ClusterSummaryStatus) {
	cluster := clusterref.OfSummary(summary)
	for i := range summary.Status.FeatureSummaries {
		is := &summary.Status.FeatureSummaries[i]
		was := configv1beta1.FeatureSummary{}
		if at := slices.IndexFunc(before.FeatureSummaries, func(f configv1beta1.FeatureSummary) bool { return f.FeatureID == is.FeatureID }); at >= 0 {
			was = before.FeatureSummaries[at]
		}
		message := ptr.Deref(is.FailureMessage, "")
		switch {
		case is.Status == configv1beta1.FeatureStatusProvisioned && (was.Status != is.Status || !is.LastAppliedTime.Equal(was.LastAppliedTime)):
			r.Events.Eventf(summary, nil, corev1.EventTypeNormal, eventFeatureDeployed, "Deploy", "%s deployed to %s", fieldOf(is.FeatureID), cluster)
		case isFailed(is.Status) && (was.Status != is.Status || message != ptr.Deref(was.FailureMessage, "")):
			r.Events.Eventf(summary, nil, corev1.EventTypeWarning, eventFeatureFailed, "Deploy", "%s on %s: %s", fieldOf(is.FeatureID), cluster, message)
		}
	}
}

func isFailed(status configv1beta1.FeatureStatus) bool {
	return status == configv1beta1.FeatureStatusFailed || status == configv1beta1.FeatureStatusFailedNonRetriable
}
