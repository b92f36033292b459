// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfiguration

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry/config/deployed"
)

// compute makes one ClusterConfiguration for each cluster with something on it,
// of records of what is deployed.
func compute(records []*inventory.Record) []*config.ClusterConfiguration {
	byCluster := map[fleet.Ref]*config.ClusterConfiguration{}
	var configurations []*config.ClusterConfiguration
	for _, r := range records {
		cluster := deployed.Cluster(r)
		configuration := byCluster[cluster]
		if configuration == nil {
			configuration = newConfiguration(cluster)
			byCluster[cluster] = configuration
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

// add adds what one record has. What a profile has on the host for the cluster is in
// another record than what it has there, which comes before it.
func add(status *config.ClusterConfigurationStatus, owner inventory.Owner, features []config.Feature) {
	if owner.Kind == v1beta1.KindProfile {
		if last := len(status.ProfileResources) - 1; last >= 0 && status.ProfileResources[last].ProfileName == owner.Name {
			status.ProfileResources[last].Features = combine(status.ProfileResources[last].Features, features)
			return
		}
		status.ProfileResources = append(status.ProfileResources, config.ProfileResource{ProfileName: owner.Name, Features: features})
		return
	}
	if last := len(status.ClusterProfileResources) - 1; last >= 0 && status.ClusterProfileResources[last].ClusterProfileName == owner.Name {
		status.ClusterProfileResources[last].Features = combine(status.ClusterProfileResources[last].Features, features)
		return
	}
	status.ClusterProfileResources = append(status.ClusterProfileResources,
		config.ClusterProfileResource{ClusterProfileName: owner.Name, Features: features})
}

// combine joins the resources of the same features.
func combine(features, more []config.Feature) []config.Feature {
	for _, feature := range more {
		i := slices.IndexFunc(features, func(f config.Feature) bool { return f.FeatureID == feature.FeatureID })
		if i < 0 {
			features = append(features, feature)
			continue
		}
		features[i].Resources = append(features[i].Resources, feature.Resources...)
	}
	return features
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
			DeploymentType:  deployed.Type(r),

			IgnoreForConfigurationDrift: object.IgnoreDrift,
		})
	}
	return resources
}
