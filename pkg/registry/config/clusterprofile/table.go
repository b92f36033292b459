// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/registry"
)

var table = Table(
	func(p *config.ClusterProfile) *config.ProfileSpec { return &p.Spec },
	func(p *config.ClusterProfile) *config.ProfileStatus { return &p.Status },
)

// Table is what kubectl get prints of a kind of profile.
func Table[T registry.Object](spec func(T) *config.ProfileSpec, status func(T) *config.ProfileStatus) registry.Table[T] {
	return registry.Table[T]{
		{
			Header: "Ready", Type: registry.String, Help: "True if everything is deployed to all clusters, else why it is not",
			Cell: func(p T) any { return ready(status(p)) },
		},
		{
			Header: "Clusters", Type: registry.Integer, Help: "how many clusters the profile selects",
			Cell: func(p T) any { return int64(status(p).MatchingClusterCount) },
		},
		{
			Header: "Provisioned", Type: registry.Integer, Help: "how many of them have everything",
			Cell: func(p T) any { return int64(status(p).ProvisionedClusterCount) },
		},
		{
			Header: "Failed", Type: registry.Integer, Help: "how many clusters deployment failed in",
			Cell: func(p T) any { return int64(len(status(p).FailedClusters)) },
		},
		{
			Header: "SyncMode", Type: registry.String, Help: "when content is deployed",
			Cell: func(p T) any { return string(spec(p).SyncMode) },
		},
		registry.Age[T](),
		{
			Header: "Tier", Type: registry.Integer, Help: "the lower tier wins a conflict between profiles", Wide: true,
			Cell: func(p T) any { return int64(spec(p).Tier) },
		},
		{
			Header: "Sets", Type: registry.String, Help: "the sets whose clusters the profile selects", Wide: true,
			Cell: func(p T) any { return strings.Join(spec(p).SetRefs, ",") },
		},
	}
}

// ready is the status of condition Ready, with the reason where that is not
// True: there it says more than False.
func ready(status *config.ProfileStatus) string {
	return registry.ConditionCell(meta.FindStatusCondition(status.Conditions, v1beta1.ConditionReady))
}
