// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterConfiguration is everything that profiles have deployed to one managed
// cluster. It is computed when it is read.
type ClusterConfiguration struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Status ClusterConfigurationStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterConfigurationList is a list of ClusterConfigurations.
type ClusterConfigurationList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ClusterConfiguration
}

// ClusterConfigurationStatus is what is deployed to a cluster, by profile.
type ClusterConfigurationStatus struct {
	ClusterProfileResources []ClusterProfileResource
	ProfileResources        []ProfileResource
}

// ClusterProfileResource is what a ClusterProfile has deployed.
type ClusterProfileResource struct {
	ClusterProfileName string
	Features           []Feature
}

// ProfileResource is what a Profile has deployed.
type ProfileResource struct {
	ProfileName string
	Features    []Feature
}

// Feature is what a feature of a profile has deployed.
type Feature struct {
	FeatureID lib.FeatureID
	Charts    []Chart
	Resources []DeployedResource
}

// Chart is a deployed release.
type Chart struct {
	RepoURL         string
	ReleaseName     string
	Namespace       string
	ChartVersion    string
	AppVersion      string
	Icon            string
	LastAppliedTime *metav1.Time
}

// DeployedResource is a deployed object.
type DeployedResource struct {
	Name                        string
	Namespace                   string
	Group                       string
	Kind                        string
	Version                     string
	LastAppliedTime             *metav1.Time
	DeploymentType              lib.DeploymentType
	IgnoreForConfigurationDrift bool
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterReport is what a profile in mode DryRun would change in one managed
// cluster. It is computed when it is read.
type ClusterReport struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ClusterReportSpec
	Status ClusterReportStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterReportList is a list of ClusterReports.
type ClusterReportList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ClusterReport
}

// ClusterReportSpec names a cluster.
type ClusterReportSpec struct {
	ClusterNamespace string
	ClusterName      string
}

// ClusterReportStatus is what a profile would change in a cluster.
type ClusterReportStatus struct {
	ReleaseReports           []ReleaseReport
	ResourceReports          []ResourceReport
	HelmResourceReports      []ResourceReport
	KustomizeResourceReports []ResourceReport
}

// ReleaseReport is what would happen to a release.
type ReleaseReport struct {
	ReleaseName      string
	ReleaseNamespace string
	ChartName        string
	ChartVersion     string
	Action           string
	Message          string
}

// ResourceReport is what would happen to an object.
type ResourceReport struct {
	Resource DeployedResource
	Action   string
	Message  string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Addon is one thing that profiles have deployed to one managed cluster, a release
// or an object. It is computed when it is read.
type Addon struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Cluster         corev1.ObjectReference
	ResourceType    string
	Namespace       string
	Name            string
	Version         string
	LastAppliedTime *metav1.Time
	DeploymentType  lib.DeploymentType
	Profiles        []string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// AddonList is a list of Addons.
type AddonList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []Addon
}
