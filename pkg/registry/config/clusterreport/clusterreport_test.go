// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterreport

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/fleet"
)

type fixed []report.Report

func (f fixed) List(context.Context, string) ([]report.Report, error) { return f, nil }

func object(feature deploy.Feature, name string, action deploy.Action) deploy.ObjectChange {
	return deploy.ObjectChange{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: name}, Version: "v1", Feature: feature, Action: action, Message: "why"}
}

func TestReportsAreUpstreams(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	cluster := fleet.Ref{Group: lib.GroupName, Kind: "SveltosCluster", Namespace: "civo", Name: "c1"}
	reports := fixed{
		{Cluster: cluster, Time: at, Owner: inventory.Owner{Kind: "ClusterProfile", Name: "kyverno"}, Preview: deploy.Preview{
			Objects: []deploy.ObjectChange{
				object(deploy.Resources, "a", deploy.ActionCreate), object(deploy.Helm, "b", deploy.ActionUpdate),
				object(deploy.Kustomize, "c", deploy.ActionNone), object(deploy.Resources, "d", deploy.ActionDelete),
			},
			Releases: []deploy.ReleaseChange{{ReleaseKey: inventory.ReleaseKey{Namespace: "x", Name: "r"}, Chart: "nginx", Version: "2", Action: deploy.ActionUpdateValues, Message: "values"}},
		}},
		{Cluster: cluster, Time: at, Owner: inventory.Owner{Kind: "Profile", Namespace: "civo", Name: "web"}},
	}
	got, err := NewREST(reports).List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resource := func(name, action string) config.ResourceReport {
		return config.ResourceReport{
			Resource: config.DeployedResource{Version: "v1", Kind: "ConfigMap", Namespace: "x", Name: name, DeploymentType: lib.DeploymentTypeRemote},
			Action:   action, Message: "why",
		}
	}
	spec := config.ClusterReportSpec{ClusterNamespace: "civo", ClusterName: "c1"}
	want := []config.ClusterReport{
		{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "civo", Name: "kyverno--sveltos--c1", CreationTimestamp: at,
				Labels: map[string]string{"projectsveltos.io/cluster-profile-name": "kyverno", "projectsveltos.io/cluster-name": "c1", "projectsveltos.io/cluster-type": "Sveltos"},
			},
			Spec: spec,
			Status: config.ClusterReportStatus{
				ReleaseReports:           []config.ReleaseReport{{ReleaseName: "r", ReleaseNamespace: "x", ChartName: "nginx", ChartVersion: "2", Action: "Update Values", Message: "values"}},
				ResourceReports:          []config.ResourceReport{resource("a", "Create"), resource("d", "Delete")},
				HelmResourceReports:      []config.ResourceReport{resource("b", "Update")},
				KustomizeResourceReports: []config.ResourceReport{resource("c", "No Action")},
			},
		},
		{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "civo", Name: "p--web--sveltos--c1", CreationTimestamp: at,
				Labels: map[string]string{"projectsveltos.io/profile-name": "web", "projectsveltos.io/cluster-name": "c1", "projectsveltos.io/cluster-type": "Sveltos"},
			},
			Spec: spec,
		},
	}
	if diff := cmp.Diff(want, got.(*config.ClusterReportList).Items); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	printed, err := table.ConvertToTable(t.Context(), got, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"kyverno--sveltos--c1", "civo/c1", int64(4)}, printed.Rows[0].Cells[:3]); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}
