// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"slices"

	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// addFieldLabelConversions says which field selectors there are beside those of
// every kind, metadata.name and metadata.namespace.
func addFieldLabelConversions(scheme *runtime.Scheme) error {
	for kind, fields := range map[string][]string{
		"ClusterSummary": {"spec.clusterNamespace", "spec.clusterName", "spec.clusterType"},
		"Addon":          {"cluster.kind", "cluster.name", "resourceType", "namespace", "name", "version", "deploymentType"},
	} {
		err := scheme.AddFieldLabelConversionFunc(SchemeGroupVersion.WithKind(kind), func(label, value string) (string, string, error) {
			if slices.Contains(fields, label) {
				return label, value, nil
			}
			return runtime.DefaultMetaV1FieldSelectorConversion(label, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Convert_v1alpha1_ProfileStatus_To_config_ProfileStatus writes references with the
// version that internal objects have them with.
func Convert_v1alpha1_ProfileStatus_To_config_ProfileStatus(in *ProfileStatus, out *config.ProfileStatus, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_ProfileStatus_To_config_ProfileStatus(in, out, s); err != nil {
		return err
	}
	out.MatchingClusters = lib.RefsAt(lib.HubVersion, out.MatchingClusters)
	return nil
}

// Convert_config_ProfileStatus_To_v1alpha1_ProfileStatus writes references with this
// version.
func Convert_config_ProfileStatus_To_v1alpha1_ProfileStatus(in *config.ProfileStatus, out *ProfileStatus, s conversion.Scope) error {
	if err := autoConvert_config_ProfileStatus_To_v1alpha1_ProfileStatus(in, out, s); err != nil {
		return err
	}
	out.MatchingClusters = lib.RefsAt(SchemeGroupVersion.Version, out.MatchingClusters)
	return nil
}

// Convert_v1alpha1_UpdatingClusters_To_config_UpdatingClusters writes references with
// the version that internal objects have them with.
func Convert_v1alpha1_UpdatingClusters_To_config_UpdatingClusters(in *UpdatingClusters, out *config.UpdatingClusters, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_UpdatingClusters_To_config_UpdatingClusters(in, out, s); err != nil {
		return err
	}
	out.Clusters = lib.RefsAt(lib.HubVersion, out.Clusters)
	return nil
}

// Convert_config_UpdatingClusters_To_v1alpha1_UpdatingClusters writes references with
// this version.
func Convert_config_UpdatingClusters_To_v1alpha1_UpdatingClusters(in *config.UpdatingClusters, out *UpdatingClusters, s conversion.Scope) error {
	if err := autoConvert_config_UpdatingClusters_To_v1alpha1_UpdatingClusters(in, out, s); err != nil {
		return err
	}
	out.Clusters = lib.RefsAt(SchemeGroupVersion.Version, out.Clusters)
	return nil
}

// Convert_v1alpha1_FailedCluster_To_config_FailedCluster writes the reference with
// the version that internal objects have it with.
func Convert_v1alpha1_FailedCluster_To_config_FailedCluster(in *FailedCluster, out *config.FailedCluster, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_FailedCluster_To_config_FailedCluster(in, out, s); err != nil {
		return err
	}
	out.ClusterRef = lib.RefAt(lib.HubVersion, in.ClusterRef)
	return nil
}

// Convert_config_FailedCluster_To_v1alpha1_FailedCluster writes the reference with
// this version.
func Convert_config_FailedCluster_To_v1alpha1_FailedCluster(in *config.FailedCluster, out *FailedCluster, s conversion.Scope) error {
	if err := autoConvert_config_FailedCluster_To_v1alpha1_FailedCluster(in, out, s); err != nil {
		return err
	}
	out.ClusterRef = lib.RefAt(SchemeGroupVersion.Version, in.ClusterRef)
	return nil
}

// Convert_v1alpha1_Addon_To_config_Addon writes the reference with the version that
// internal objects have it with.
func Convert_v1alpha1_Addon_To_config_Addon(in *Addon, out *config.Addon, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_Addon_To_config_Addon(in, out, s); err != nil {
		return err
	}
	out.Cluster = lib.RefAt(lib.HubVersion, in.Cluster)
	return nil
}

// Convert_config_Addon_To_v1alpha1_Addon writes the reference with this version.
func Convert_config_Addon_To_v1alpha1_Addon(in *config.Addon, out *Addon, s conversion.Scope) error {
	if err := autoConvert_config_Addon_To_v1alpha1_Addon(in, out, s); err != nil {
		return err
	}
	out.Cluster = lib.RefAt(SchemeGroupVersion.Version, in.Cluster)
	return nil
}
