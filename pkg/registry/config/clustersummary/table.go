// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/registry"
)

// table is what kubectl get prints. The wide columns are upstream's.
var table = registry.Table[*config.ClusterSummary]{
	{
		Header: "Cluster", Type: registry.String, Help: "namespace and name of the cluster",
		Cell: func(s *config.ClusterSummary) any { return s.Spec.ClusterNamespace + "/" + s.Spec.ClusterName },
	},
	{
		Header: "Profile", Type: registry.String, Help: "kind and name of the profile",
		Cell: func(s *config.ClusterSummary) any { return profileOf(s) },
	},
	{
		Header: "Ready", Type: registry.String, Help: "True if everything is deployed, else why it is not",
		Cell: func(s *config.ClusterSummary) any {
			return registry.ConditionCell(meta.FindStatusCondition(s.Status.Conditions, v1beta1.ConditionReady))
		},
	},
	registry.Age[*config.ClusterSummary](),
	{
		Header: "HelmCharts", Type: registry.String, Help: "state of the profile's charts", Wide: true,
		Cell: func(s *config.ClusterSummary) any { return featureStatus(s, lib.FeatureHelm) },
	},
	{
		Header: "KustomizeRefs", Type: registry.String, Help: "state of the profile's kustomizations", Wide: true,
		Cell: func(s *config.ClusterSummary) any { return featureStatus(s, lib.FeatureKustomize) },
	},
	{
		Header: "PolicyRefs", Type: registry.String, Help: "state of the profile's manifests", Wide: true,
		Cell: func(s *config.ClusterSummary) any { return featureStatus(s, lib.FeatureResources) },
	},
}

// profileOf names the profile that owns a summary.
func profileOf(summary *config.ClusterSummary) string {
	for _, owner := range summary.OwnerReferences {
		if owner.Kind == v1beta1.KindClusterProfile || owner.Kind == v1beta1.KindProfile {
			return owner.Kind + "/" + owner.Name
		}
	}
	return ""
}

func featureStatus(summary *config.ClusterSummary, feature lib.FeatureID) string {
	for i := range summary.Status.FeatureSummaries {
		if summary.Status.FeatureSummaries[i].FeatureID == feature {
			return string(summary.Status.FeatureSummaries[i].Status)
		}
	}
	return ""
}
