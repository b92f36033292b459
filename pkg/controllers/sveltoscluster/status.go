// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// desiredStatus is what the status of cluster says of health. Everything that
// another writer may have put there, and that health says nothing about, stays.
// duplicates names the other registrations of the same cluster.
func desiredStatus(cluster *libv1beta1.SveltosCluster, health fleet.Health, duplicates []string) libv1beta1.SveltosClusterStatus {
	status := *cluster.Status.DeepCopy()
	status.ObservedGeneration = cluster.Generation
	status.Ready = health.Ready
	status.ConnectionStatus = libv1beta1.ConnectionHealthy
	if health.Down {
		status.ConnectionStatus = libv1beta1.ConnectionDown
	}
	status.ConnectionFailures = connectionFailures(cluster, health)
	status.FailureMessage = nil
	if health.Message != "" {
		status.FailureMessage = ptr.To(health.Message)
	}
	if health.Version != "" {
		status.Version = health.Version
	}

	set := func(condition metav1.Condition) {
		condition.ObservedGeneration = cluster.Generation
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	set(readyCondition(health))
	if health.EverReady {
		set(metav1.Condition{Type: libv1beta1.ConditionHasBeenReady, Status: metav1.ConditionTrue, Reason: libv1beta1.ReasonReachable})
	}
	set(credentialsCondition(health))
	if health.Checks == fleet.ChecksNone {
		meta.RemoveStatusCondition(&status.Conditions, libv1beta1.ConditionChecksPassed)
	} else {
		set(checksCondition(health))
	}
	set(duplicateCondition(duplicates))
	if health.ID != "" {
		set(identityCondition(cluster.Status.ClusterID, health.ID, status.Conditions))
		status.ClusterID = string(health.ID)
	}
	setProgress(&status)
	return status
}

// connectionFailures counts up to the threshold and no further, so that a
// cluster that stays down is not written at every probe.
func connectionFailures(cluster *libv1beta1.SveltosCluster, health fleet.Health) int32 {
	threshold := cluster.Spec.ConsecutiveFailureThreshold
	if threshold <= 0 {
		threshold = fleet.DefaultFailureThreshold
	}
	return min(int32(health.Failures), threshold)
}

func readyCondition(health fleet.Health) metav1.Condition {
	condition := metav1.Condition{Type: libv1beta1.ConditionReady, Status: metav1.ConditionFalse, Message: health.Message}
	switch {
	case health.Ready && health.Failures > 0:
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonProbeFailing
		if checksFail(health) {
			condition.Reason = libv1beta1.ReasonCheckFailed
		}
	case health.Ready:
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonReachable
	case checksFail(health):
		condition.Reason = libv1beta1.ReasonCheckFailed
	case health.Down && health.Failures == 0:
		condition.Reason = libv1beta1.ReasonStabilizing
	case health.Down:
		condition.Reason = libv1beta1.ReasonUnreachable
	case health.CredentialsInvalid:
		condition.Reason = libv1beta1.ReasonCredentialsInvalid
	case health.Failures > 0:
		condition.Reason = libv1beta1.ReasonProbeFailing
	case health.Checks == fleet.ChecksUndecided:
		condition.Reason = libv1beta1.ReasonCheckUndecided
	default:
		condition.Status, condition.Reason = metav1.ConditionUnknown, libv1beta1.ReasonNotProbed
	}
	return condition
}

// checksFail reports whether the latest probe found the API server well and a check not.
func checksFail(health fleet.Health) bool {
	return health.Checks == fleet.ChecksFailed || health.Checks == fleet.ChecksErred
}

// checksCondition tells what the cluster's own checks came to. checksIn reads it back.
func checksCondition(health fleet.Health) metav1.Condition {
	condition := metav1.Condition{Type: libv1beta1.ConditionChecksPassed, Status: metav1.ConditionFalse, Message: health.CheckMessage}
	switch health.Checks {
	case fleet.ChecksPassed:
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonChecksPassed
	case fleet.ChecksFailed:
		condition.Reason = libv1beta1.ReasonCheckFailed
	case fleet.ChecksErred:
		condition.Reason = libv1beta1.ReasonScriptError
	default:
		condition.Status, condition.Reason = metav1.ConditionUnknown, libv1beta1.ReasonCheckUndecided
	}
	return condition
}

func credentialsCondition(health fleet.Health) metav1.Condition {
	if health.CredentialsInvalid {
		return metav1.Condition{
			Type: libv1beta1.ConditionCredentialsValid, Status: metav1.ConditionFalse,
			Reason: libv1beta1.ReasonCredentialsInvalid, Message: health.Message,
		}
	}
	if !health.EverReady {
		return metav1.Condition{Type: libv1beta1.ConditionCredentialsValid, Status: metav1.ConditionUnknown, Reason: libv1beta1.ReasonNotProbed}
	}
	return metav1.Condition{
		Type: libv1beta1.ConditionCredentialsValid, Status: metav1.ConditionTrue,
		Reason: libv1beta1.ReasonCredentialsAccepted, Message: libv1beta1.CredentialsAccepted(health.Credentials),
	}
}

func duplicateCondition(duplicates []string) metav1.Condition {
	if len(duplicates) == 0 {
		return metav1.Condition{Type: libv1beta1.ConditionDuplicateRegistration, Status: metav1.ConditionFalse, Reason: libv1beta1.ReasonUnique}
	}
	return metav1.Condition{
		Type: libv1beta1.ConditionDuplicateRegistration, Status: metav1.ConditionTrue, Reason: libv1beta1.ReasonSameCluster,
		Message: fmt.Sprintf("The same cluster is registered as %s too; deregister one of them, or profiles will deploy to it twice.",
			strings.Join(duplicates, ", ")),
	}
}

// identityCondition stays true once another cluster has answered, until it says
// so of the next one: whoever replaced a cluster should find out.
func identityCondition(known string, seen fleet.ClusterID, conditions []metav1.Condition) metav1.Condition {
	if known != "" && known != string(seen) {
		return metav1.Condition{
			Type: libv1beta1.ConditionIdentityChanged, Status: metav1.ConditionTrue, Reason: libv1beta1.ReasonOtherCluster,
			Message: fmt.Sprintf("Another cluster answers than before: its kube-system namespace has UID %s and had %s. "+
				"What profiles deployed to the former cluster is left there; they deploy to this one anew, those of syncMode OneTime once more.", seen, known),
		}
	}
	if existing := meta.FindStatusCondition(conditions, libv1beta1.ConditionIdentityChanged); existing != nil {
		return *existing
	}
	return metav1.Condition{Type: libv1beta1.ConditionIdentityChanged, Status: metav1.ConditionFalse, Reason: libv1beta1.ReasonIdentityKnown}
}
