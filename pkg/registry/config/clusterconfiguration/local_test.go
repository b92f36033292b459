// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfiguration

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// What a profile has on the host stands with what it has on the cluster that it is for.
func TestWhatIsOnTheHostIsShownAsLocal(t *testing.T) {
	object := func(name string) inventory.Object {
		return inventory.Object{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: name}, Version: "v1", Feature: "Resources", LastAppliedTime: applied}
	}
	owner := inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"}
	local := owner
	local.Cluster = "civo/c1"
	got, err := NewREST(fixed{
		{Cluster: inventory.Host(), Owner: local, Objects: []inventory.Object{object("here")}},
		{Cluster: cluster("c1"), Owner: owner, Objects: []inventory.Object{object("there")}},
	}).List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	items := got.(*config.ClusterConfigurationList).Items
	if len(items) != 1 || items[0].Name != "sveltos--c1" || items[0].Namespace != "civo" {
		t.Fatalf("%d configurations: %+v", len(items), items)
	}
	types := map[string]lib.DeploymentType{}
	profiles := items[0].Status.ClusterProfileResources
	if len(profiles) != 1 || len(profiles[0].Features) != 1 {
		t.Fatalf("profiles %+v", profiles)
	}
	for _, resource := range profiles[0].Features[0].Resources {
		types[resource.Name] = resource.DeploymentType
	}
	if diff := cmp.Diff(map[string]lib.DeploymentType{"here": lib.DeploymentTypeLocal, "there": lib.DeploymentTypeRemote}, types); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}
