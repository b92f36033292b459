// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/validation"
	"github.com/muster-project/muster/pkg/registry"
)

// kind is the policy for Profiles.
var kind = registry.Kind[*config.Profile]{
	Group:      config.GroupName,
	Namespaced: true,

	Spec:        func(p *config.Profile) any { return &p.Spec },
	Status:      func(p *config.Profile) any { return &p.Status },
	CopySpec:    func(to, from *config.Profile) { to.Spec = from.Spec },
	CopyStatus:  func(to, from *config.Profile) { to.Status = from.Status },
	ClearStatus: func(p *config.Profile) { p.Status = config.ProfileStatus{} },

	Validate:       validation.ValidateProfile,
	ValidateUpdate: validation.ValidateProfileUpdate,
	ValidateStatus: validation.ValidateProfileStatusUpdate,

	Warnings: validation.WarningsOnProfile,
}
