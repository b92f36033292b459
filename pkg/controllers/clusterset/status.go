// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// brakeCondition is the condition that persists whether a set is halted. A set
// that never was has none.
func brakeCondition(s set, halted bool) *metav1.Condition {
	existing := meta.FindStatusCondition(s.status.Conditions, libv1beta1.ConditionFailoverHalted)
	condition := &metav1.Condition{Type: libv1beta1.ConditionFailoverHalted, ObservedGeneration: s.GetGeneration()}
	switch {
	case halted && !s.ignoresBrake():
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonManyClustersDown
		condition.Message = "More than half of all clusters went down within seconds, which is more likely this side's fault than theirs: " +
			"nothing is moved until most answer again. Annotate the set with " + libv1beta1.AnnotationIgnoreBrake + `="true" to move it anyway.`
	case halted:
		condition.Status, condition.Reason = metav1.ConditionFalse, libv1beta1.ReasonBrakeIgnored
		condition.Message = "More than half of all clusters went down within seconds; the set moves anyway, as its annotation says."
	case existing == nil:
		return nil
	default:
		condition.Status, condition.Reason = metav1.ConditionFalse, libv1beta1.ReasonClustersRecovered
	}
	return condition
}

// isHalted is the brake as it is persisted, which is what selection obeys.
func isHalted(status *libv1beta1.ClusterSetStatus) bool {
	return meta.IsStatusConditionTrue(status.Conditions, libv1beta1.ConditionFailoverHalted)
}

// withResult is status with a selection in it.
func withResult(s set, result selection.Result) libv1beta1.ClusterSetStatus {
	status := *s.status.DeepCopy()
	status.ObservedGeneration = s.GetGeneration()
	status.MatchingClusterRefs = objectReferences(result.Matching)
	status.MatchingClusterCount = int32(result.Healthy)
	status.SelectedClusterRefs = objectReferences(result.Selected)
	status.SelectedClusterCount = int32(len(result.Selected))
	meta.SetStatusCondition(&status.Conditions, readyCondition(s, result))
	setProgress(&status)
	return status
}

// readyCondition says whether the set has as many healthy clusters as it asks
// for, so that a wait on it ends when it has.
func readyCondition(s set, result selection.Result) metav1.Condition {
	condition := metav1.Condition{Type: libv1beta1.ConditionReady, ObservedGeneration: s.GetGeneration()}
	want := min(int(s.spec.MaxReplicas), selection.MaxSelected)
	switch {
	case want <= 0:
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonNothingAsked
		condition.Message = "spec.maxReplicas is 0: the set selects nothing."
	case result.Counts.Selected >= want:
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonAllSelected
	case result.Counts.Held > 0:
		condition.Status, condition.Reason = metav1.ConditionFalse, libv1beta1.ReasonHoldingUnready
		condition.Message = "Selected clusters are not ready, and there is no ready one to replace them; what runs there is left alone."
	default:
		condition.Status, condition.Reason = metav1.ConditionFalse, libv1beta1.ReasonTooFewClusters
		condition.Message = "Fewer clusters match and are ready than spec.maxReplicas asks for."
	}
	return condition
}

func objectReferences(refs []fleet.Ref) []corev1.ObjectReference {
	references := make([]corev1.ObjectReference, len(refs))
	for i, ref := range refs {
		references[i] = clusterref.Object(ref)
	}
	return references
}
