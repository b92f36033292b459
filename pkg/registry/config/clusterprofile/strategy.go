// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/validation"
	"github.com/muster-project/muster/pkg/registry"
)

// kind is the policy for ClusterProfiles.
var kind = registry.Kind[*config.ClusterProfile]{
	Group:      config.GroupName,
	Namespaced: false,

	Spec:        func(p *config.ClusterProfile) any { return &p.Spec },
	Status:      func(p *config.ClusterProfile) any { return &p.Status },
	CopySpec:    func(to, from *config.ClusterProfile) { to.Spec = from.Spec },
	CopyStatus:  func(to, from *config.ClusterProfile) { to.Status = from.Status },
	ClearStatus: func(p *config.ClusterProfile) { p.Status = config.ProfileStatus{} },

	Validate:       validation.ValidateClusterProfile,
	ValidateUpdate: validation.ValidateClusterProfileUpdate,
	ValidateStatus: validation.ValidateClusterProfileStatusUpdate,

	Warnings: validation.WarningsOnClusterProfile,
}
