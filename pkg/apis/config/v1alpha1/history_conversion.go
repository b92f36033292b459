// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/conversion"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// Convert_v1alpha1_RevisionCluster_To_config_RevisionCluster writes the reference with
// the version that internal objects have it with.
func Convert_v1alpha1_RevisionCluster_To_config_RevisionCluster(in *RevisionCluster, out *config.RevisionCluster, s conversion.Scope) error {
	if err := autoConvert_v1alpha1_RevisionCluster_To_config_RevisionCluster(in, out, s); err != nil {
		return err
	}
	out.Cluster = lib.RefAt(lib.HubVersion, in.Cluster)
	return nil
}

// Convert_config_RevisionCluster_To_v1alpha1_RevisionCluster writes the reference with
// this version.
func Convert_config_RevisionCluster_To_v1alpha1_RevisionCluster(in *config.RevisionCluster, out *RevisionCluster, s conversion.Scope) error {
	if err := autoConvert_config_RevisionCluster_To_v1alpha1_RevisionCluster(in, out, s); err != nil {
		return err
	}
	out.Cluster = lib.RefAt(SchemeGroupVersion.Version, in.Cluster)
	return nil
}
