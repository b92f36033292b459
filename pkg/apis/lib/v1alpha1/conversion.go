// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// addFieldLabelConversions says which field selectors there are beside those of
// every kind, metadata.name and metadata.namespace.
func addFieldLabelConversions(scheme *runtime.Scheme) error {
	return scheme.AddFieldLabelConversionFunc(SchemeGroupVersion.WithKind("SveltosCluster"),
		func(label, value string) (string, string, error) {
			if label == "status.ready" {
				return label, value, nil
			}
			return runtime.DefaultMetaV1FieldSelectorConversion(label, value)
		})
}

// Convert_string_To_lib_Selector never fails: what does not parse is kept until
// validation refuses it.
func Convert_string_To_lib_Selector(in *string, out *lib.Selector, _ conversion.Scope) error {
	*out = lib.ParseSelector(*in)
	return nil
}

// Convert_lib_Selector_To_string never fails.
func Convert_lib_Selector_To_string(in *lib.Selector, out *string, _ conversion.Scope) error {
	*out = in.String()
	return nil
}

// Convert_v1alpha1_ClusterSetStatus_To_lib_ClusterSetStatus writes references with
// the version that internal objects have them with.
func Convert_v1alpha1_ClusterSetStatus_To_lib_ClusterSetStatus(in *ClusterSetStatus, out *lib.ClusterSetStatus, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_ClusterSetStatus_To_lib_ClusterSetStatus(in, out, s); err != nil {
		return err
	}
	out.MatchingClusterRefs = lib.RefsAt(lib.HubVersion, out.MatchingClusterRefs)
	out.SelectedClusterRefs = lib.RefsAt(lib.HubVersion, out.SelectedClusterRefs)
	return nil
}

// Convert_lib_ClusterSetStatus_To_v1alpha1_ClusterSetStatus writes references with
// this version.
func Convert_lib_ClusterSetStatus_To_v1alpha1_ClusterSetStatus(in *lib.ClusterSetStatus, out *ClusterSetStatus, s conversion.Scope) error {
	if err := autoConvert_lib_ClusterSetStatus_To_v1alpha1_ClusterSetStatus(in, out, s); err != nil {
		return err
	}
	out.MatchingClusterRefs = lib.RefsAt(SchemeGroupVersion.Version, out.MatchingClusterRefs)
	out.SelectedClusterRefs = lib.RefsAt(SchemeGroupVersion.Version, out.SelectedClusterRefs)
	return nil
}

// Convert_v1alpha1_SelectedCluster_To_lib_SelectedCluster writes the apiVersion with
// the version that internal objects have it with.
func Convert_v1alpha1_SelectedCluster_To_lib_SelectedCluster(in *SelectedCluster, out *lib.SelectedCluster, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_SelectedCluster_To_lib_SelectedCluster(in, out, s); err != nil {
		return err
	}
	out.APIVersion = lib.APIVersionAt(lib.HubVersion, in.APIVersion, in.Kind)
	return nil
}

// Convert_lib_SelectedCluster_To_v1alpha1_SelectedCluster writes the apiVersion with
// this version.
func Convert_lib_SelectedCluster_To_v1alpha1_SelectedCluster(in *lib.SelectedCluster, out *SelectedCluster, s conversion.Scope) error {
	if err := autoConvert_lib_SelectedCluster_To_v1alpha1_SelectedCluster(in, out, s); err != nil {
		return err
	}
	out.APIVersion = lib.APIVersionAt(SchemeGroupVersion.Version, in.APIVersion, in.Kind)
	return nil
}

// Convert_v1alpha1_SelectionCandidate_To_lib_SelectionCandidate writes the reference
// with the version that internal objects have it with.
func Convert_v1alpha1_SelectionCandidate_To_lib_SelectionCandidate(in *SelectionCandidate, out *lib.SelectionCandidate, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_SelectionCandidate_To_lib_SelectionCandidate(in, out, s); err != nil {
		return err
	}
	out.Ref = lib.RefAt(lib.HubVersion, in.Ref)
	return nil
}

// Convert_lib_SelectionCandidate_To_v1alpha1_SelectionCandidate writes the reference
// with this version.
func Convert_lib_SelectionCandidate_To_v1alpha1_SelectionCandidate(in *lib.SelectionCandidate, out *SelectionCandidate, s conversion.Scope) error {
	if err := autoConvert_lib_SelectionCandidate_To_v1alpha1_SelectionCandidate(in, out, s); err != nil {
		return err
	}
	out.Ref = lib.RefAt(SchemeGroupVersion.Version, in.Ref)
	return nil
}
