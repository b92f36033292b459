// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry/config/clusterprofile"
)

var table = clusterprofile.Table(
	func(p *config.Profile) *config.ProfileSpec { return &p.Spec },
	func(p *config.Profile) *config.ProfileStatus { return &p.Status },
)
