// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfiguration

import (
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/registry"
)

// table is what kubectl get prints.
var table = registry.Table[*config.ClusterConfiguration]{
	{
		Header: "Cluster", Type: registry.String, Help: "namespace and name of the cluster",
		Cell: func(c *config.ClusterConfiguration) any {
			return c.Namespace + "/" + c.Labels[v1beta1.LabelClusterName]
		},
	},
	{
		Header: "Profiles", Type: registry.Integer, Help: "how many profiles have deployed something",
		Cell: func(c *config.ClusterConfiguration) any {
			return int64(len(c.Status.ClusterProfileResources) + len(c.Status.ProfileResources))
		},
	},
	{
		Header: "Charts", Type: registry.Integer, Help: "how many releases are deployed",
		Cell: func(c *config.ClusterConfiguration) any {
			return count(c, func(f config.Feature) int { return len(f.Charts) })
		},
	},
	{
		Header: "Resources", Type: registry.Integer, Help: "how many objects are deployed, not counting those of charts",
		Cell: func(c *config.ClusterConfiguration) any {
			return count(c, func(f config.Feature) int { return len(f.Resources) })
		},
	},
}

func count(c *config.ClusterConfiguration, of func(config.Feature) int) int64 {
	n := 0
	for _, profile := range c.Status.ClusterProfileResources {
		for _, feature := range profile.Features {
			n += of(feature)
		}
	}
	for _, profile := range c.Status.ProfileResources {
		for _, feature := range profile.Features {
			n += of(feature)
		}
	}
	return int64(n)
}
