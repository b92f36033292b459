// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deployed

import (
	"strings"

	"github.com/muster-project/muster/pkg/apis/lib"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// Cluster is the managed cluster that a record is shown under: the one that it is of,
// or, of what is on the host, the one that it is for.
func Cluster(r *inventory.Record) fleet.Ref {
	namespace, name, found := strings.Cut(r.Owner.Cluster, "/")
	if !found {
		return r.Cluster
	}
	return fleet.Ref{Group: lib.GroupName, Kind: libv1beta1.KindSveltosCluster, Namespace: namespace, Name: name}
}

// Type says whether what a record names is on the host or on the managed cluster.
func Type(r *inventory.Record) lib.DeploymentType {
	if r.Cluster == inventory.Host() {
		return lib.DeploymentTypeLocal
	}
	return lib.DeploymentTypeRemote
}
