// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package set

import (
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/registry/lib/clusterset"
)

var table = clusterset.Table(
	func(s *lib.Set) *lib.ClusterSetSpec { return &s.Spec },
	func(s *lib.Set) *lib.ClusterSetStatus { return &s.Status },
)
