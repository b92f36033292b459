// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfiguration

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

var applied = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

func cluster(name string) fleet.Ref {
	return fleet.Ref{Group: lib.GroupName, Kind: "SveltosCluster", Namespace: "civo", Name: name}
}

func object(feature, name string) inventory.Object {
	return inventory.Object{
		ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: name},
		Version:   "v1", Feature: feature, LastAppliedTime: applied,
	}
}

type fixed []*inventory.Record

func (f fixed) List(context.Context, string) ([]*inventory.Record, error) { return f, nil }

func records() fixed {
	return fixed{
		{
			Cluster: cluster("c1"), Owner: inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"},
			Objects: []inventory.Object{object("Resources", "a"), object("Kustomize", "b")},
			Releases: []inventory.Release{{
				ReleaseKey: inventory.ReleaseKey{Namespace: "kyverno", Name: "kyverno-latest"},
				Chart:      "kyverno", Version: "3.3.3", AppVersion: "v1.13", RepoURL: "https://x", Icon: "https://y", LastAppliedTime: applied,
			}},
		},
		{
			Cluster: cluster("c1"), Owner: inventory.Owner{Kind: "Profile", Namespace: "civo", Name: "web"},
			Objects: []inventory.Object{object("Resources", "c")},
		},
		{
			Cluster: cluster("c2"), Owner: inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"},
			Objects: []inventory.Object{{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Name: "planned"}, Feature: "Resources"}},
		},
	}
}

func TestOneConfigurationForEveryClusterWithContent(t *testing.T) {
	got, err := NewREST(records()).List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resource := func(name string) config.DeployedResource {
		return config.DeployedResource{
			Version: "v1", Kind: "ConfigMap", Namespace: "x", Name: name, LastAppliedTime: &applied, DeploymentType: lib.DeploymentTypeRemote,
		}
	}
	want := []config.ClusterConfiguration{{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "civo", Name: "sveltos--c1",
			Labels: map[string]string{"projectsveltos.io/cluster-name": "c1", "projectsveltos.io/cluster-type": "Sveltos"},
		},
		Status: config.ClusterConfigurationStatus{
			ClusterProfileResources: []config.ClusterProfileResource{{ClusterProfileName: "kyverno", Features: []config.Feature{
				{FeatureID: lib.FeatureHelm, Charts: []config.Chart{{
					RepoURL: "https://x", ReleaseName: "kyverno-latest", Namespace: "kyverno", ChartVersion: "3.3.3",
					AppVersion: "v1.13", Icon: "https://y", LastAppliedTime: &applied,
				}}},
				{FeatureID: lib.FeatureKustomize, Resources: []config.DeployedResource{resource("b")}},
				{FeatureID: lib.FeatureResources, Resources: []config.DeployedResource{resource("a")}},
			}}},
			ProfileResources: []config.ProfileResource{{ProfileName: "web", Features: []config.Feature{
				{FeatureID: lib.FeatureResources, Resources: []config.DeployedResource{resource("c")}},
			}}},
		},
	}}
	if diff := cmp.Diff(want, got.(*config.ClusterConfigurationList).Items); diff != "" {
		t.Errorf("configurations (-want +got):\n%s", diff)
	}
}

func TestAClusterWithoutContentHasNone(t *testing.T) {
	ctx := request.WithNamespace(t.Context(), "civo")
	if _, err := NewREST(records()).Get(ctx, "sveltos--c1", nil); err != nil {
		t.Errorf("c1: %v", err)
	}
	if _, err := NewREST(records()).Get(ctx, "sveltos--c2", nil); !apierrors.IsNotFound(err) {
		t.Errorf("c2: %v", err)
	}
}

func TestOtherClustersAreNamedAsUpstreamDoes(t *testing.T) {
	got := newConfiguration(fleet.Ref{Group: "cluster.x-k8s.io", Kind: "Cluster", Namespace: "n", Name: "c"})
	if got.Name != "capi--c" || got.Labels["projectsveltos.io/cluster-type"] != "Capi" {
		t.Errorf("it is called %s %v", got.Name, got.Labels)
	}
}

func TestTable(t *testing.T) {
	got, err := NewREST(records()).List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := table.ConvertToTable(t.Context(), got, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"sveltos--c1", "civo/c1", int64(2), int64(1), int64(3)}, printed.Rows[0].Cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}
