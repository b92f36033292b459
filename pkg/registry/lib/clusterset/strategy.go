// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/validation"
	"github.com/muster-project/muster/pkg/registry"
)

// kind is the policy for ClusterSets.
var kind = registry.Kind[*lib.ClusterSet]{
	Group:      lib.GroupName,
	Namespaced: false,

	Spec:        func(s *lib.ClusterSet) any { return &s.Spec },
	Status:      func(s *lib.ClusterSet) any { return &s.Status },
	CopySpec:    func(to, from *lib.ClusterSet) { to.Spec = from.Spec },
	CopyStatus:  func(to, from *lib.ClusterSet) { to.Status = from.Status },
	ClearStatus: func(s *lib.ClusterSet) { s.Status = lib.ClusterSetStatus{} },

	Validate:       validation.ValidateClusterSet,
	ValidateUpdate: validation.ValidateClusterSetUpdate,
	ValidateStatus: validation.ValidateClusterSetStatusUpdate,

	Warnings: validation.WarningsOnClusterSet,
}
