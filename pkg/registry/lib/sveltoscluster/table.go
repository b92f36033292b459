// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/registry"
)

// table is what kubectl get prints. Ready is blank rather than false for a
// cluster that cannot be reached, as readers of upstream's tables expect.
var table = registry.Table[*lib.SveltosCluster]{
	{
		Header: "Ready", Type: registry.String, Help: "true while the cluster can be reached and its checks pass",
		Cell: func(c *lib.SveltosCluster) any { return registry.TrueOrBlank(c.Status.Ready) },
	},
	{
		Header: "Version", Type: registry.String, Help: "Kubernetes version of the cluster",
		Cell: func(c *lib.SveltosCluster) any { return c.Status.Version },
	},
	registry.Age[*lib.SveltosCluster](),
	{
		Header: "ConnectionStatus", Type: registry.String, Help: "whether the last probes reached the cluster", Wide: true,
		Cell: func(c *lib.SveltosCluster) any { return string(c.Status.ConnectionStatus) },
	},
	{
		Header: "Failures", Type: registry.Integer, Help: "probes that failed in a row", Wide: true,
		Cell: func(c *lib.SveltosCluster) any { return int64(c.Status.ConnectionFailures) },
	},
	{
		Header: "Paused", Type: registry.String, Help: "true while nothing is deployed to the cluster", Wide: true,
		Cell: func(c *lib.SveltosCluster) any { return registry.TrueOrBlank(paused(c)) },
	},
	{
		Header: "Message", Type: registry.String, Help: "what the last failed probe said", Wide: true,
		Cell: func(c *lib.SveltosCluster) any { return ptr.Deref(c.Status.FailureMessage, "") },
	},
}

// paused reports whether anything pauses the cluster; the status lags behind a spec that
// was just written.
func paused(c *lib.SveltosCluster) bool {
	return c.Spec.Paused || meta.IsStatusConditionTrue(c.Status.Conditions, v1beta1.ConditionPaused)
}
