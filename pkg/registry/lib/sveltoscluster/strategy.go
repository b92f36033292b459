// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/validation"
	"github.com/muster-project/muster/pkg/registry"
)

// kind is the policy for SveltosClusters.
var kind = registry.Kind[*lib.SveltosCluster]{
	Group:      lib.GroupName,
	Namespaced: true,

	Spec:        func(c *lib.SveltosCluster) any { return &c.Spec },
	Status:      func(c *lib.SveltosCluster) any { return &c.Status },
	CopySpec:    func(to, from *lib.SveltosCluster) { to.Spec = from.Spec },
	CopyStatus:  func(to, from *lib.SveltosCluster) { to.Status = from.Status },
	ClearStatus: func(c *lib.SveltosCluster) { c.Status = lib.SveltosClusterStatus{} },

	Validate:       validation.ValidateSveltosCluster,
	ValidateUpdate: validation.ValidateSveltosClusterUpdate,
	ValidateStatus: validation.ValidateSveltosClusterStatusUpdate,
}
