// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// healthOf is what the status of cluster remembers, for a prober that starts: a
// restart neither makes a dead cluster ready nor a ready one not.
func healthOf(cluster *libv1beta1.SveltosCluster) fleet.Health {
	health := fleet.Health{
		Ready:     cluster.Status.Ready,
		EverReady: meta.IsStatusConditionTrue(cluster.Status.Conditions, libv1beta1.ConditionHasBeenReady),
		Down:      cluster.Status.ConnectionStatus == libv1beta1.ConnectionDown,
		Failures:  int(cluster.Status.ConnectionFailures),
		Version:   cluster.Status.Version,
		ID:        fleet.ClusterID(cluster.Status.ClusterID),
		CredentialsInvalid: meta.IsStatusConditionFalse(cluster.Status.Conditions,
			libv1beta1.ConditionCredentialsValid),
		Credentials: libv1beta1.AcceptedCredentials(cluster.Status.Conditions),
	}
	if cluster.Status.FailureMessage != nil {
		health.Message = *cluster.Status.FailureMessage
	}
	health.Checks, health.CheckMessage = checksIn(cluster.Status.Conditions)
	return health
}

// checksIn is what checksCondition says.
func checksIn(conditions []metav1.Condition) (state fleet.CheckState, message string) {
	condition := meta.FindStatusCondition(conditions, libv1beta1.ConditionChecksPassed)
	if condition == nil {
		return fleet.ChecksNone, ""
	}
	switch condition.Reason {
	case libv1beta1.ReasonChecksPassed:
		state = fleet.ChecksPassed
	case libv1beta1.ReasonCheckFailed:
		state = fleet.ChecksFailed
	case libv1beta1.ReasonScriptError:
		state = fleet.ChecksErred
	default:
		state = fleet.ChecksUndecided
	}
	return state, condition.Message
}
