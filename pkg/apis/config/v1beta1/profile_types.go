// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	lib "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterProfile says what to deploy to which managed clusters of any namespace.
type ClusterProfile struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what to deploy, where and how.
	// +optional
	Spec ProfileSpec `json:"spec,omitempty,omitzero"`
	// status is what is known of the deployment as a whole.
	// +optional
	Status ProfileStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterProfileList is a list of ClusterProfiles.
type ClusterProfileList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the profiles.
	Items []ClusterProfile `json:"items"`
}

// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Profile says what to deploy to which managed clusters of its own namespace.
type Profile struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what to deploy, where and how.
	// +optional
	Spec ProfileSpec `json:"spec,omitempty,omitzero"`
	// status is what is known of the deployment as a whole.
	// +optional
	Status ProfileStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ProfileList is a list of Profiles.
type ProfileList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the profiles.
	Items []Profile `json:"items"`
}

// SyncMode says when content is deployed.
// +enum
type SyncMode string

const (
	// SyncModeOneTime deploys once to each cluster and ignores later changes.
	SyncModeOneTime SyncMode = "OneTime"
	// SyncModeContinuous deploys every change of the profile and its sources.
	SyncModeContinuous SyncMode = "Continuous"
	// SyncModeContinuousWithDriftDetection also undoes changes that others make to
	// deployed objects.
	SyncModeContinuousWithDriftDetection SyncMode = "ContinuousWithDriftDetection"
	// SyncModeDryRun deploys nothing and reports what would change.
	SyncModeDryRun SyncMode = "DryRun"
)

// StopMatchingBehavior says what becomes of content in a cluster that the profile
// no longer selects.
// +enum
type StopMatchingBehavior string

const (
	// WithdrawPolicies removes it.
	WithdrawPolicies StopMatchingBehavior = "WithdrawPolicies"
	// LeavePolicies leaves it in place, owned by nobody.
	LeavePolicies StopMatchingBehavior = "LeavePolicies"
)

// DefaultTier is the tier of profiles and references that name none.
const DefaultTier int32 = 100

// ProfileSpec is the spec of a ClusterProfile and of a Profile. It goes to every
// cluster that the selector, a reference or a set selects.
type ProfileSpec struct {
	// clusterSelector matches clusters by their labels. An empty one matches none.
	// +optional
	ClusterSelector metav1.LabelSelector `json:"clusterSelector,omitempty,omitzero"`
	// clusterRefs name clusters that match whatever their labels.
	// +listType=atomic
	// +optional
	ClusterRefs []corev1.ObjectReference `json:"clusterRefs,omitempty"`
	// setRefs are the names of ClusterSets, for a ClusterProfile, or of Sets of the
	// same namespace, for a Profile. The clusters that they select match.
	// +listType=set
	// +optional
	SetRefs []string `json:"setRefs,omitempty"`
	// syncMode says when content is deployed.
	// +optional
	// +default="Continuous"
	SyncMode SyncMode `json:"syncMode,omitempty"`
	// tier decides between profiles that deploy the same object: the lower one wins,
	// and among equals the one that has the object. Zero means 100.
	// +optional
	// +default=100
	Tier int32 `json:"tier,omitempty"`
	// continueOnConflict deploys the rest when an object is another profile's.
	// +optional
	ContinueOnConflict bool `json:"continueOnConflict,omitempty"`
	// continueOnError deploys the rest when something fails.
	// +optional
	ContinueOnError bool `json:"continueOnError,omitempty"`
	// maxConsecutiveFailures is the number of failures in a row after which a feature
	// waits for a change. Unset or zero means that it is tried for ever.
	// +optional
	MaxConsecutiveFailures *int32 `json:"maxConsecutiveFailures,omitempty"`
	// maxUpdate is how many clusters, or what percentage of them, are updated at the
	// same time. Unset or zero means all.
	// +optional
	MaxUpdate *intstr.IntOrString `json:"maxUpdate,omitempty"`
	// stopMatchingBehavior says what becomes of the content of a cluster that no
	// longer matches, and of all content when the profile is deleted.
	// +optional
	// +default="WithdrawPolicies"
	StopMatchingBehavior StopMatchingBehavior `json:"stopMatchingBehavior,omitempty"`
	// reloader restarts workloads when a ConfigMap or Secret that they mount is
	// changed by the profile.
	// +optional
	Reloader bool `json:"reloader,omitempty"`
	// dependsOn are the names of profiles of the same kind that have to be deployed
	// to a cluster before this one is.
	// +listType=set
	// +optional
	DependsOn []string `json:"dependsOn,omitempty"`
	// templateResourceRefs are objects of the host cluster that templates can use.
	// +listType=map
	// +listMapKey=identifier
	// +patchMergeKey=identifier
	// +patchStrategy=merge
	// +optional
	TemplateResourceRefs []TemplateResourceRef `json:"templateResourceRefs,omitempty" patchStrategy:"merge" patchMergeKey:"identifier"`
	// policyRefs are sources of manifests, applied in this order.
	// +listType=atomic
	// +optional
	PolicyRefs []PolicyRef `json:"policyRefs,omitempty"`
	// helmCharts are charts, deployed in this order.
	// +listType=atomic
	// +optional
	HelmCharts []HelmChart `json:"helmCharts,omitempty"`
	// kustomizationRefs are sources of kustomizations, applied in this order.
	// +listType=atomic
	// +optional
	KustomizationRefs []KustomizationRef `json:"kustomizationRefs,omitempty"`
	// validateHealths are checks that have to pass after a feature is deployed.
	// +listType=atomic
	// +optional
	ValidateHealths []lib.ValidateHealth `json:"validateHealths,omitempty"`
	// preDeployChecks are checks that have to pass before a feature is deployed.
	// +listType=atomic
	// +optional
	PreDeployChecks []lib.ValidateHealth `json:"preDeployChecks,omitempty"`
	// preDeleteChecks are checks that have to pass before a feature is withdrawn.
	// +listType=atomic
	// +optional
	PreDeleteChecks []lib.ValidateHealth `json:"preDeleteChecks,omitempty"`
	// postDeleteChecks are checks that have to pass after a feature is withdrawn.
	// +listType=atomic
	// +optional
	PostDeleteChecks []lib.ValidateHealth `json:"postDeleteChecks,omitempty"`
	// patches change rendered objects before they are applied.
	// +listType=atomic
	// +optional
	Patches []lib.Patch `json:"patches,omitempty"`
	// patchesFrom are ConfigMaps and Secrets with more patches.
	// +listType=atomic
	// +optional
	PatchesFrom []ValueFrom `json:"patchesFrom,omitempty"`
	// driftExclusions name fields of deployed objects that others may change.
	// +listType=atomic
	// +optional
	DriftExclusions []lib.DriftExclusion `json:"driftExclusions,omitempty"`
	// extraLabels are set on every deployed object.
	// +optional
	ExtraLabels map[string]string `json:"extraLabels,omitempty"`
	// extraAnnotations are set on every deployed object.
	// +optional
	ExtraAnnotations map[string]string `json:"extraAnnotations,omitempty"`
	// transitionFrom is the name of the profile that hands its content over to this
	// one when a cluster moves from one to the other.
	// +optional
	TransitionFrom string `json:"transitionFrom,omitempty"`
	// featureOrder is the order in which policyRefs (Resources), helmCharts (Helm) and
	// kustomizationRefs (Kustomize) are deployed: each starts when those before it have
	// succeeded. Those that it does not name, and all without it, are deployed beside
	// each other. Sveltos has no such field.
	// +listType=atomic
	// +optional
	FeatureOrder []lib.FeatureID `json:"featureOrder,omitempty"`
}

// TemplateResourceRef makes an object of the host cluster available to templates.
type TemplateResourceRef struct {
	// identifier is what templates call the object.
	Identifier string `json:"identifier"`
	// resource names the object. Its name and namespace may be templates. Without a
	// namespace it is the cluster's.
	Resource corev1.ObjectReference `json:"resource"`
	// optional means that the object may be missing.
	// +optional
	Optional bool `json:"optional,omitempty"`
	// ignoreStatusChanges means that a change of the object's status deploys nothing
	// anew.
	// +optional
	IgnoreStatusChanges bool `json:"ignoreStatusChanges,omitempty"`
	// watchFields are the fields whose change deploys anew. Unset means all.
	// +listType=atomic
	// +optional
	WatchFields []string `json:"watchFields,omitempty"`
}

// UpdatingClusters are clusters with a version of the profile.
type UpdatingClusters struct {
	// hash is of the profile's version.
	// +optional
	Hash []byte `json:"hash,omitempty"`
	// clusters are the clusters.
	// +listType=atomic
	// +optional
	Clusters []corev1.ObjectReference `json:"clusters,omitempty"`
}

// FailedCluster is a cluster to which deployment failed.
type FailedCluster struct {
	// clusterRef is the cluster.
	ClusterRef corev1.ObjectReference `json:"clusterRef"`
	// failureMessage says what failed.
	FailureMessage string `json:"failureMessage"`
	// lastFailureTime is when it failed last.
	// +optional
	LastFailureTime *metav1.Time `json:"lastFailureTime,omitempty"`
}

// ProfileStatus is the status of a ClusterProfile and of a Profile. How each
// cluster fares is in its ClusterSummary.
type ProfileStatus struct {
	// matchingClusters are the clusters that the profile selects, the first 500 by
	// namespace and name.
	// +listType=atomic
	// +optional
	MatchingClusters []corev1.ObjectReference `json:"matchingClusters,omitempty"`
	// matchingClusterCount is the number of all clusters that the profile selects.
	// +optional
	MatchingClusterCount int32 `json:"matchingClusterCount,omitempty"`
	// provisionedClusterCount is the number of clusters that have everything.
	// +optional
	ProvisionedClusterCount int32 `json:"provisionedClusterCount,omitempty"`
	// failedClusters are the clusters to which deployment failed.
	// +listType=atomic
	// +optional
	FailedClusters []FailedCluster `json:"failedClusters,omitempty"`
	// updatingClusters are the clusters that are being updated.
	// +optional
	UpdatingClusters UpdatingClusters `json:"updatingClusters,omitempty,omitzero"`
	// updatedClusters are the clusters that are up to date.
	// +optional
	UpdatedClusters UpdatingClusters `json:"updatedClusters,omitempty,omitzero"`
	// dependenciesHash is of the profiles that this one depends on.
	// +optional
	DependenciesHash []byte `json:"dependenciesHash,omitempty"`
	// reconciliationSuspended says that nothing is deployed for now.
	// +optional
	ReconciliationSuspended bool `json:"reconciliationSuspended,omitempty"`
	// suspensionReason says why nothing is deployed for now.
	// +optional
	SuspensionReason *string `json:"suspensionReason,omitempty"`
	// observedGeneration is the generation of the spec that the status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are the states of the profile, with the time of their last change.
	// +listType=map
	// +listMapKey=type
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
