// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"slices"

	"github.com/muster-project/muster/pkg/apis/unsupported"
)

// Rows documents everything that validation of this group refuses because it is not
// obeyed yet.
func Rows() []unsupported.Row {
	return slices.Concat(
		clusterTable.Rows("SveltosCluster", "spec"),
		clusterMetaTable.Rows("SveltosCluster", "metadata"),
		ClusterRefRows("ClusterSet, Set", "spec.clusterRefs[]"),
	)
}
