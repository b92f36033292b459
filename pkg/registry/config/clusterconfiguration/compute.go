// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfiguration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// compute makes one ClusterConfiguration for each cluster with something on it,
// of records of what is deployed.
func compute(records []*inventory.Record) []*config.ClusterConfiguration {
	byCluster := map[fleet.Ref]*config.ClusterConfiguration{}
	var configurations []*config.ClusterConfiguration
	for _, r := range records {
		configuration := byCluster[r.Cluster]
		if configuration == nil {
			configuration = newConfiguration(r.Cluster)
			byCluster[r.Cluster] = configuration
			configurations = append(configurations, configuration)
		}
		add(&configuration.Status, r.Owner, featuresOf(r))
	}
	return configurations
}

// newConfiguration names it as upstream does: by the type and the cluster.
func newConfiguration(cluster fleet.Ref) *config.ClusterConfiguration {
	prefix, clusterType := "sveltos", lib.ClusterTypeSveltos
	if cluster.Group != lib.GroupName {
		prefix, clusterType = "capi", lib.ClusterTypeCapi
	}
	return &config.ClusterConfiguration{ObjectMeta: metav1.ObjectMeta{
		Namespace: cluster.Namespace,
		Name:      prefix + "--" + cluster.Name,
		Labels: map[string]string{
			libv1beta1.LabelClusterName: cluster.Name,
			libv1beta1.LabelClusterType: string(clusterType),
		},
	}}
}

func add(status *config.ClusterConfigurationStatus, owner inventory.Owner, features []config.Feature) {
	if owner.Kind == v1beta1.KindProfile {
		status.ProfileResources = append(status.ProfileResources, config.ProfileResource{ProfileName: owner.Name, Features: features})
		return
	}
	status.ClusterProfileResources = append(status.ClusterProfileResources,
		config.ClusterProfileResource{ClusterProfileName: owner.Name, Features: features})
}

// featuresOf lists what a profile has deployed, by feature.
func featuresOf(r *inventory.Record) []config.Feature {
	var features []config.Feature
	if charts := chartsOf(r); len(charts) > 0 {
		features = append(features, config.Feature{FeatureID: lib.FeatureHelm, Charts: charts})
	}
	for _, id := range []lib.FeatureID{lib.FeatureKustomize, lib.FeatureResources} {
		if resources := resourcesOf(r, id); len(resources) > 0 {
			features = append(features, config.Feature{FeatureID: id, Resources: resources})
		}
	}
	return features
}

func chartsOf(r *inventory.Record) []config.Chart {
	var charts []config.Chart
	for _, release := range r.Releases {
		charts = append(charts, config.Chart{
			RepoURL:         release.RepoURL,
			ReleaseName:     release.Name,
			Namespace:       release.Namespace,
			ChartVersion:    release.Version,
			AppVersion:      release.AppVersion,
			Icon:            release.Icon,
			LastAppliedTime: release.LastAppliedTime.DeepCopy(),
		})
	}
	return charts
}

func resourcesOf(r *inventory.Record, feature lib.FeatureID) []config.DeployedResource {
	var resources []config.DeployedResource
	for _, object := range r.Objects {
		if object.Feature != string(feature) {
			continue
		}
		resources = append(resources, config.DeployedResource{
			Group:           object.Group,
			Version:         object.Version,
			Kind:            object.Kind,
			Namespace:       object.Namespace,
			Name:            object.Name,
			LastAppliedTime: object.LastAppliedTime.DeepCopy(),
			DeploymentType:  lib.DeploymentTypeRemote,

			IgnoreForConfigurationDrift: object.IgnoreDrift,
		})
	}
	return resources
}
