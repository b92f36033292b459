// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"k8s.io/apimachinery/pkg/api/meta"

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
	return health
}
