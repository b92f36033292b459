// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package set

import (
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/validation"
	"github.com/muster-project/muster/pkg/registry"
)

// kind is the policy for Sets.
var kind = registry.Kind[*lib.Set]{
	Group:      lib.GroupName,
	Namespaced: true,

	Spec:        func(s *lib.Set) any { return &s.Spec },
	Status:      func(s *lib.Set) any { return &s.Status },
	CopySpec:    func(to, from *lib.Set) { to.Spec = from.Spec },
	CopyStatus:  func(to, from *lib.Set) { to.Status = from.Status },
	ClearStatus: func(s *lib.Set) { s.Status = lib.ClusterSetStatus{} },

	Validate:       validation.ValidateSet,
	ValidateUpdate: validation.ValidateSetUpdate,
	ValidateStatus: validation.ValidateSetStatusUpdate,

	Warnings: validation.WarningsOnSet,
}
