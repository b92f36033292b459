// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	lib "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// +genclient
// +genclient:onlyVerbs=get,list
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterConfiguration is everything that profiles have deployed to one managed
// cluster. It is computed when it is read.
type ClusterConfiguration struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// status is what is deployed.
	// +optional
	Status ClusterConfigurationStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterConfigurationList is a list of ClusterConfigurations.
type ClusterConfigurationList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the configurations.
	Items []ClusterConfiguration `json:"items"`
}

// ClusterConfigurationStatus is what is deployed to a cluster, by profile.
type ClusterConfigurationStatus struct {
	// clusterProfileResources is what ClusterProfiles have deployed.
	// +listType=atomic
	// +optional
	ClusterProfileResources []ClusterProfileResource `json:"clusterProfileResources,omitempty"`
	// profileResources is what Profiles have deployed.
	// +listType=atomic
	// +optional
	ProfileResources []ProfileResource `json:"profileResources,omitempty"`
}

// ClusterProfileResource is what a ClusterProfile has deployed.
type ClusterProfileResource struct {
	// clusterProfileName is the name of the ClusterProfile.
	ClusterProfileName string `json:"clusterProfileName"`
	// Features is what was deployed, by feature.
	// +listType=atomic
	// +optional
	Features []Feature `json:"Features,omitempty"`
}

// ProfileResource is what a Profile has deployed.
type ProfileResource struct {
	// profileName is the name of the Profile.
	ProfileName string `json:"profileName"`
	// Features is what was deployed, by feature.
	// +listType=atomic
	// +optional
	Features []Feature `json:"Features,omitempty"`
}

// Feature is what a feature of a profile has deployed.
type Feature struct {
	// featureID names the feature.
	FeatureID lib.FeatureID `json:"featureID"`
	// charts are the deployed releases.
	// +listType=atomic
	// +optional
	Charts []Chart `json:"charts,omitempty"`
	// resources are the deployed objects.
	// +listType=atomic
	// +optional
	Resources []DeployedResource `json:"resources,omitempty"`
}

// Chart is a deployed release.
type Chart struct {
	// repoURL is the repository of the chart.
	RepoURL string `json:"repoURL"`
	// releaseName is the name of the release.
	ReleaseName string `json:"releaseName"`
	// namespace of the release.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// chartVersion is the version of the chart.
	ChartVersion string `json:"chartVersion"`
	// appVersion is the version of what the chart deploys.
	// +optional
	AppVersion string `json:"appVersion,omitempty"`
	// icon is the URL of a picture for the chart.
	// +optional
	Icon string `json:"icon,omitempty"`
	// lastAppliedTime is when the release was deployed last.
	LastAppliedTime *metav1.Time `json:"lastAppliedTime"`
}

// DeployedResource is a deployed object.
type DeployedResource struct {
	// name of the object.
	Name string `json:"name"`
	// namespace of the object.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// group of the object. Empty is the core group.
	Group string `json:"group"`
	// kind of the object.
	Kind string `json:"kind"`
	// version of the object.
	Version string `json:"version"`
	// lastAppliedTime is when the object was applied last.
	// +optional
	LastAppliedTime *metav1.Time `json:"lastAppliedTime,omitempty"`
	// deploymentType says into which cluster the object went.
	// +optional
	// +default="Remote"
	DeploymentType lib.DeploymentType `json:"deploymentType,omitempty"`
	// ignoreForConfigurationDrift means that the object is not checked for drift.
	// +optional
	IgnoreForConfigurationDrift bool `json:"ignoreForConfigurationDrift,omitempty"`
}

// +genclient
// +genclient:onlyVerbs=get,list
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterReport is what a profile in mode DryRun would change in one managed
// cluster. It is computed when it is read.
type ClusterReport struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the cluster.
	// +optional
	Spec ClusterReportSpec `json:"spec,omitempty,omitzero"`
	// status is what would change.
	// +optional
	Status ClusterReportStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterReportList is a list of ClusterReports.
type ClusterReportList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the reports.
	Items []ClusterReport `json:"items"`
}

// ClusterReportSpec names a cluster.
type ClusterReportSpec struct {
	// clusterNamespace is the namespace of the cluster.
	ClusterNamespace string `json:"clusterNamespace"`
	// clusterName is the name of the cluster.
	ClusterName string `json:"clusterName"`
}

// ClusterReportStatus is what a profile would change in a cluster.
type ClusterReportStatus struct {
	// releaseReports are the releases that would change.
	// +listType=atomic
	// +optional
	ReleaseReports []ReleaseReport `json:"releaseReports,omitempty"`
	// resourceReports are the objects of policyRefs that would change.
	// +listType=atomic
	// +optional
	ResourceReports []ResourceReport `json:"resourceReports,omitempty"`
	// helmResourceReports are the objects of helmCharts that would change.
	// +listType=atomic
	// +optional
	HelmResourceReports []ResourceReport `json:"helmResourceReports,omitempty"`
	// kustomizeResourceReports are the objects of kustomizationRefs that would change.
	// +listType=atomic
	// +optional
	KustomizeResourceReports []ResourceReport `json:"kustomizeResourceReports,omitempty"`
}

// ReleaseReport is what would happen to a release.
type ReleaseReport struct {
	// releaseName is the name of the release.
	ReleaseName string `json:"releaseName"`
	// releaseNamespace is the namespace of the release.
	ReleaseNamespace string `json:"releaseNamespace"`
	// chartName is the name of the chart.
	ChartName string `json:"chartName"`
	// chartVersion is the version of the chart.
	ChartVersion string `json:"chartVersion"`
	// action is No Action, Install, Upgrade, Delete, Conflict or Update Values.
	// +optional
	Action string `json:"action,omitempty"`
	// message says more about the action.
	// +optional
	Message string `json:"message,omitempty"`
}

// ResourceReport is what would happen to an object.
type ResourceReport struct {
	// resource is the object.
	Resource DeployedResource `json:"resource"`
	// action is No Action, Create, Update, Delete, Conflict or Error.
	// +optional
	Action string `json:"action,omitempty"`
	// message says more about the action. For an update it is a unified diff.
	// +optional
	Message string `json:"message,omitempty"`
}

// +genclient
// +genclient:onlyVerbs=get,list
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Addon is one thing that profiles have deployed to one managed cluster, a release
// or an object. It is computed when it is read.
type Addon struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata. The namespace is the cluster's; labels
	// name the cluster, the profile and the type.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// cluster is the managed cluster.
	Cluster corev1.ObjectReference `json:"cluster"`
	// resourceType is helm chart for a release, or group and kind of an object as in
	// apps:Deployment.
	ResourceType string `json:"resourceType"`
	// namespace of the release or object in the cluster.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the release or object in the cluster.
	Name string `json:"name"`
	// version of the chart. Objects have none.
	// +optional
	Version string `json:"version,omitempty"`
	// lastAppliedTime is when the release or object was deployed last.
	// +optional
	LastAppliedTime *metav1.Time `json:"lastAppliedTime,omitempty"`
	// deploymentType says into which cluster the release or object went.
	// +optional
	// +default="Remote"
	DeploymentType lib.DeploymentType `json:"deploymentType,omitempty"`
	// profiles are the profiles that deploy it, as kind and name with a slash
	// between them.
	// +listType=atomic
	// +optional
	Profiles []string `json:"profiles,omitempty"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// AddonList is a list of Addons.
type AddonList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the add-ons.
	Items []Addon `json:"items"`
}
