// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"strings"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry"
)

// table is what kubectl get prints: what is deployed, where, and by whom. The
// name is nobody's concern but kubectl's.
var table = registry.Table[*config.Addon]{
	{
		Header: "Cluster", Type: registry.String, Help: "namespace and name of the cluster",
		Cell: func(a *config.Addon) any { return a.Cluster.Namespace + "/" + a.Cluster.Name },
	},
	{
		Header: "Type", Type: registry.String, Help: "helm chart, or group and kind of the object",
		Cell: func(a *config.Addon) any { return a.ResourceType },
	},
	{
		Header: "Resource", Type: registry.String, Help: "namespace and name of the release or object in the cluster",
		Cell: func(a *config.Addon) any { return resource(a) },
	},
	{
		Header: "Version", Type: registry.String, Help: "version of the chart",
		Cell: func(a *config.Addon) any { return a.Version },
	},
	{
		Header: "Applied", Type: registry.String, Help: "how long ago it was deployed last",
		Cell: func(a *config.Addon) any { return registry.Since(a.LastAppliedTime) },
	},
	{
		Header: "Profiles", Type: registry.String, Help: "the profiles that deploy it",
		Cell: func(a *config.Addon) any { return strings.Join(a.Profiles, ";") },
	},
	{
		Header: "DeploymentType", Type: registry.String, Help: "into which cluster it went", Wide: true,
		Cell: func(a *config.Addon) any { return string(a.DeploymentType) },
	},
}

func resource(a *config.Addon) string {
	if a.Namespace == "" {
		return a.Name
	}
	return a.Namespace + "/" + a.Name
}
