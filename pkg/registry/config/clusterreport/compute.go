// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterreport

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/config/diff"
)

// compute makes a ClusterReport of a report, under upstream's name.
func compute(r *report.Report) *config.ClusterReport {
	clusterType := lib.ClusterTypeSveltos
	if r.Cluster.Group != lib.GroupName {
		clusterType = lib.ClusterTypeCapi
	}
	prefix, label := "", libv1beta1.LabelClusterProfileName
	if r.Owner.Kind == v1beta1.KindProfile {
		prefix, label = "p--", libv1beta1.LabelProfileName
	}
	out := &config.ClusterReport{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Cluster.Namespace,
			Name:      prefix + r.Owner.Name + "--" + strings.ToLower(string(clusterType)) + "--" + r.Cluster.Name,
			Labels: map[string]string{
				label:                       r.Owner.Name,
				libv1beta1.LabelClusterName: r.Cluster.Name,
				libv1beta1.LabelClusterType: string(clusterType),
			},
			CreationTimestamp: r.Time,
		},
		Spec: config.ClusterReportSpec{ClusterNamespace: r.Cluster.Namespace, ClusterName: r.Cluster.Name},
	}
	for _, change := range r.Releases {
		out.Status.ReleaseReports = append(out.Status.ReleaseReports, diff.Release(change))
	}
	for _, change := range r.Objects {
		into := &out.Status.ResourceReports
		switch change.Feature {
		case deploy.Helm:
			into = &out.Status.HelmResourceReports
		case deploy.Kustomize:
			into = &out.Status.KustomizeResourceReports
		}
		*into = append(*into, diff.Resource(change))
	}
	return out
}

// table is what kubectl get prints.
var table = registry.Table[*config.ClusterReport]{
	{
		Header: "Cluster", Type: registry.String, Help: "namespace and name of the cluster",
		Cell: func(r *config.ClusterReport) any { return r.Spec.ClusterNamespace + "/" + r.Spec.ClusterName },
	},
	{
		Header: "Changes", Type: registry.Integer, Help: "how many releases and objects would change",
		Cell: func(r *config.ClusterReport) any { return changes(&r.Status) },
	},
	registry.Age[*config.ClusterReport](),
}

// changes counts what would not stay as it is.
func changes(status *config.ClusterReportStatus) int64 {
	n := 0
	for _, r := range status.ReleaseReports {
		if r.Action != string(deploy.ActionNone) {
			n++
		}
	}
	for _, reports := range [][]config.ResourceReport{status.ResourceReports, status.HelmResourceReports, status.KustomizeResourceReports} {
		for i := range reports {
			if reports[i].Action != string(deploy.ActionNone) {
				n++
			}
		}
	}
	return int64(n)
}
