// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/registry"
)

func clusterDiff(d *report.Report) config.ClusterDiff {
	out := config.ClusterDiff{
		Cluster: corev1.ObjectReference{
			APIVersion: d.Cluster.Group + "/" + lib.HubVersion, Kind: d.Cluster.Kind, Namespace: d.Cluster.Namespace, Name: d.Cluster.Name,
		},
		Warnings: d.Warnings, FailureMessage: d.Failure,
	}
	for _, change := range d.Releases {
		out.Releases = append(out.Releases, Release(change))
	}
	for _, change := range d.Objects {
		out.Resources = append(out.Resources, Resource(change))
	}
	return out
}

// Release is a change of a release, as it is served.
func Release(change deploy.ReleaseChange) config.ReleaseReport {
	return config.ReleaseReport{
		ReleaseName: change.Name, ReleaseNamespace: change.Namespace, ChartName: change.Chart, ChartVersion: change.Version,
		Action: string(change.Action), Message: change.Message,
	}
}

// Resource is a change of an object, as it is served.
func Resource(change deploy.ObjectChange) config.ResourceReport {
	out := config.ResourceReport{
		Resource: config.DeployedResource{
			Name: change.Name, Namespace: change.Namespace, Group: change.Group, Kind: change.Kind, Version: change.Version,
			DeploymentType: lib.DeploymentTypeRemote, IgnoreForConfigurationDrift: change.IgnoreDrift,
		},
		Action: string(change.Action), Message: change.Message,
	}
	if !change.LastAppliedTime.IsZero() {
		out.Resource.LastAppliedTime = change.LastAppliedTime.DeepCopy()
	}
	return out
}

// ConvertToTable makes one row for each thing that would change, and for each cluster of
// which not everything is known. What stays as it is has no row.
func (r *REST) ConvertToTable(_ context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	diff, ok := object.(*config.Diff)
	if !ok {
		return nil, fmt.Errorf("cannot print %T as a diff", object)
	}
	out := &metav1.Table{Rows: []metav1.TableRow{}}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		out.ColumnDefinitions = []metav1.TableColumnDefinition{
			{Name: "Cluster", Type: registry.String, Format: "name", Description: "namespace and name of the cluster's registration"},
			{Name: "Resource Type", Type: registry.String, Description: "helm release, or group and kind of the object"},
			{Name: "Namespace", Type: registry.String, Description: "namespace in the cluster"},
			{Name: "Name", Type: registry.String, Description: "name in the cluster"},
			{Name: "Action", Type: registry.String, Description: "what would become of it"},
			{Name: "Message", Type: registry.String, Description: "why, or the difference", Priority: 1},
		}
	}
	for i := range diff.Clusters {
		out.Rows = append(out.Rows, rows(&diff.Clusters[i])...)
	}
	return out, nil
}

func rows(d *config.ClusterDiff) []metav1.TableRow {
	var out []metav1.TableRow
	add := func(what, namespace, name, action, message string) {
		if action == string(deploy.ActionNone) {
			return
		}
		out = append(out, metav1.TableRow{
			Cells: []any{d.Cluster.Namespace + "/" + d.Cluster.Name, what, namespace, name, action, message},
			// A row needs an object with metadata; this one names the cluster.
			Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
				TypeMeta:   metav1.TypeMeta{APIVersion: d.Cluster.APIVersion, Kind: d.Cluster.Kind},
				ObjectMeta: metav1.ObjectMeta{Namespace: d.Cluster.Namespace, Name: d.Cluster.Name},
			}},
		})
	}
	for _, r := range d.Releases {
		add("helm release", r.ReleaseNamespace, r.ReleaseName, r.Action, r.Message)
	}
	for i := range d.Resources {
		o := &d.Resources[i]
		add(o.Resource.Group+":"+o.Resource.Kind, o.Resource.Namespace, o.Resource.Name, o.Action, o.Message)
	}
	if d.FailureMessage != "" {
		add("", "", "", string(deploy.ActionError), d.FailureMessage)
	}
	for _, warning := range d.Warnings {
		add("", "", "", "Warning", warning)
	}
	return out
}
