// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the name of the group.
const GroupName = "config.projectsveltos.io"

// SchemeGroupVersion is the group and version that the types of this package
// are registered under.
var SchemeGroupVersion = schema.GroupVersion{Group: GroupName, Version: runtime.APIVersionInternal}

var (
	// SchemeBuilder collects what AddToScheme does.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

// Kind qualifies a kind with the group.
func Kind(kind string) schema.GroupKind {
	return SchemeGroupVersion.WithKind(kind).GroupKind()
}

// Resource qualifies a resource with the group.
func Resource(resource string) schema.GroupResource {
	return SchemeGroupVersion.WithResource(resource).GroupResource()
}

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion,
		&ClusterProfile{},
		&ClusterProfileList{},
		&Profile{},
		&ProfileList{},
		&ClusterSummary{},
		&ClusterSummaryList{},
		&ClusterConfiguration{},
		&ClusterConfigurationList{},
		&ClusterReport{},
		&ClusterReportList{},
		&Addon{},
		&AddonList{},
		&Diff{},
		&DiffOptions{},
		&ProfileHistory{},
		&ProfileHistoryOptions{},
	)
	return nil
}
