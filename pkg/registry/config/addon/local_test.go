// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"testing"

	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func TestWhatIsOnTheHostIsAnAddonOfTheClusterItIsFor(t *testing.T) {
	owner := inventory.Owner{Kind: "ClusterProfile", Name: "kyverno", Cluster: "civo/c1"}
	object := inventory.Object{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: "here"}, Version: "v1", LastAppliedTime: applied}
	remote := inventory.Record{Cluster: fixed(records())[0].Cluster, Owner: inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"}, Objects: []inventory.Object{object}}
	got := compute([]*inventory.Record{{Cluster: inventory.Host(), Owner: owner, Objects: []inventory.Object{object}}, &remote})
	if len(got) != 2 || got[0].ObjectMeta.Name == got[1].ObjectMeta.Name {
		t.Fatalf("%d add-ons", len(got))
	}
	local := got[0]
	if local.DeploymentType != lib.DeploymentTypeLocal || local.ObjectMeta.Namespace != "civo" || local.Labels[v1beta1.LabelAddonCluster] != "c1" ||
		local.Cluster.Kind != "SveltosCluster" || local.Cluster.Name != "c1" || local.Cluster.Namespace != "civo" {
		t.Errorf("add-on %+v", local)
	}
	if got[1].DeploymentType != lib.DeploymentTypeRemote {
		t.Errorf("what is on the cluster is %s", got[1].DeploymentType)
	}
}
