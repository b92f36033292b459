// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	lib "github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSummary is a profile in one managed cluster: what it deploys there and
// how far that is. Muster makes one for every profile and cluster that match, in
// the namespace of the cluster.
type ClusterSummary struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the cluster and holds the profile. Only Muster writes it.
	// +optional
	Spec ClusterSummarySpec `json:"spec,omitempty,omitzero"`
	// status says how far the deployment is.
	// +optional
	Status ClusterSummaryStatus `json:"status,omitempty,omitzero"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSummaryList is a list of ClusterSummaries.
type ClusterSummaryList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the summaries.
	Items []ClusterSummary `json:"items"`
}

// ClusterSummarySpec names a cluster and a version of a profile.
type ClusterSummarySpec struct {
	// clusterNamespace is the namespace of the cluster.
	ClusterNamespace string `json:"clusterNamespace"`
	// clusterName is the name of the cluster.
	ClusterName string `json:"clusterName"`
	// clusterType is the type of the cluster.
	ClusterType lib.ClusterType `json:"clusterType"`
	// clusterProfileSpec is the spec of the profile as it is deployed to the cluster.
	// It is stored once, as the revision below, and shown here.
	// +optional
	ClusterProfileSpec ProfileSpec `json:"clusterProfileSpec,omitempty,omitzero"`
	// profileRevision is the name of the profile's revision.
	// +optional
	ProfileRevision string `json:"profileRevision,omitempty"`
	// matchedBy says what makes the profile match the cluster.
	// +listType=atomic
	// +optional
	MatchedBy []MatchCause `json:"matchedBy,omitempty"`
	// withdraw says that the profile no longer wants its content in the cluster. A
	// summary that is deleted without it is made again, and nothing is withdrawn.
	// +optional
	Withdraw bool `json:"withdraw,omitempty"`
	// serviceAccount is the tenant that everything of the profile is read and deployed
	// as: the one that the profile's labels name. Unset means Muster itself.
	// +optional
	ServiceAccount *TenantServiceAccount `json:"serviceAccount,omitempty"`
}

// TenantServiceAccount names the ServiceAccount of a tenant on the host cluster.
type TenantServiceAccount struct {
	// namespace of the ServiceAccount.
	Namespace string `json:"namespace"`
	// name of the ServiceAccount.
	Name string `json:"name"`
}

// MatchCauseKind is a kind of cause.
// +enum
type MatchCauseKind string

const (
	// MatchCauseClusterSet is a ClusterSet that selects the cluster.
	MatchCauseClusterSet MatchCauseKind = "ClusterSet"
	// MatchCauseSet is a Set that selects the cluster.
	MatchCauseSet MatchCauseKind = "Set"
	// MatchCauseSelector is the profile's own selector.
	MatchCauseSelector MatchCauseKind = "Selector"
	// MatchCauseReference is a reference of the profile to the cluster.
	MatchCauseReference MatchCauseKind = "Reference"
	// MatchCauseDependant is a profile that depends on this one and is for the cluster.
	MatchCauseDependant MatchCauseKind = "Dependant"
)

// MatchCause is one thing that makes a profile match a cluster.
type MatchCause struct {
	// kind of the cause.
	Kind MatchCauseKind `json:"kind"`
	// name of the ClusterSet, the Set, or the profile that depends on this one.
	// +optional
	Name string `json:"name,omitempty"`
}

// FeatureStatus is the state of a feature in a cluster.
// +enum
type FeatureStatus string

const (
	// FeatureStatusProvisioning means that deployment has begun and not ended.
	FeatureStatusProvisioning FeatureStatus = "Provisioning"
	// FeatureStatusProvisioned means that everything is deployed.
	FeatureStatusProvisioned FeatureStatus = "Provisioned"
	// FeatureStatusFailed means that deployment failed and is tried again.
	FeatureStatusFailed FeatureStatus = "Failed"
	// FeatureStatusFailedNonRetriable means that deployment failed and waits for a
	// change.
	FeatureStatusFailedNonRetriable FeatureStatus = "FailedNonRetriable"
	// FeatureStatusRemoving means that withdrawal has begun and not ended.
	FeatureStatusRemoving FeatureStatus = "Removing"
	// FeatureStatusAgentRemoving means that the agent of a cluster in pull mode
	// withdraws.
	FeatureStatusAgentRemoving FeatureStatus = "AgentRemoving"
	// FeatureStatusRemoved means that everything is withdrawn.
	FeatureStatusRemoved FeatureStatus = "Removed"
)

// FeatureSummary is the state of one feature in a cluster.
type FeatureSummary struct {
	// featureID names the feature.
	FeatureID lib.FeatureID `json:"featureID"`
	// status is the state of the feature.
	// +optional
	Status FeatureStatus `json:"status,omitempty"`
	// hash is of what was deployed last.
	// +optional
	Hash []byte `json:"hash,omitempty"`
	// failureReason is a word for what failed.
	// +optional
	FailureReason *string `json:"failureReason,omitempty"`
	// failureMessage says what failed, and names it.
	// +optional
	FailureMessage *string `json:"failureMessage,omitempty"`
	// consecutiveFailures is the number of failures in a row.
	// +optional
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"`
	// deployedGroupVersionKind are the kinds of deployed objects.
	// +listType=atomic
	// +optional
	DeployedGroupVersionKind []string `json:"deployedGroupVersionKind,omitempty"`
	// lastAppliedTime is when something was deployed last.
	// +optional
	LastAppliedTime *metav1.Time `json:"lastAppliedTime,omitempty"`
	// resourceSummaryDeployed says that the drift of deployed objects is watched.
	// +optional
	ResourceSummaryDeployed bool `json:"resourceSummaryDeployed,omitempty"`
}

// FeatureDeploymentInfo are the kinds of objects that a feature has deployed.
type FeatureDeploymentInfo struct {
	// featureID names the feature.
	FeatureID lib.FeatureID `json:"featureID"`
	// deployedGroupVersionKind are the kinds, as in Deployment.v1.apps.
	// +listType=atomic
	// +optional
	DeployedGroupVersionKind []string `json:"deployedGroupVersionKind,omitempty"`
}

// HelmChartStatus says who has a release.
// +enum
type HelmChartStatus string

const (
	// HelmChartStatusManaging means that this profile has it.
	HelmChartStatusManaging HelmChartStatus = "Managing"
	// HelmChartStatusConflict means that another profile has it.
	HelmChartStatusConflict HelmChartStatus = "Conflict"
)

// HelmChartSummary is the state of one release in a cluster.
type HelmChartSummary struct {
	// releaseName is the name of the release.
	ReleaseName string `json:"releaseName"`
	// releaseNamespace is the namespace of the release.
	ReleaseNamespace string `json:"releaseNamespace"`
	// status says who has the release.
	// +optional
	Status HelmChartStatus `json:"status,omitempty"`
	// chartName is the name of the chart.
	// +optional
	ChartName string `json:"chartName,omitempty"`
	// chartVersion is the version of the chart.
	// +optional
	ChartVersion string `json:"chartVersion,omitempty"`
	// repoURL is the repository of the chart.
	// +optional
	RepoURL string `json:"repoURL,omitempty"`
	// repositoryName is what the repository is called.
	// +optional
	RepositoryName string `json:"repositoryName,omitempty"`
	// credentialsSecretRef names the Secret with the credentials for the repository.
	// +optional
	CredentialsSecretRef *lib.SecretReference `json:"credentialsSecretRef,omitempty"`
	// valuesHash is of the values of the release.
	// +optional
	ValuesHash []byte `json:"valuesHash,omitempty"`
	// patchesHash is of the patches of the release.
	// +optional
	PatchesHash []byte `json:"patchesHash,omitempty"`
	// conflictMessage says which profile has the release.
	// +optional
	ConflictMessage string `json:"conflictMessage,omitempty"`
	// failureMessage says what failed.
	// +optional
	FailureMessage *string `json:"failureMessage,omitempty"`
	// needsRedeploy says that the release is deployed again although nothing changed.
	// +optional
	NeedsRedeploy bool `json:"needsRedeploy,omitempty"`
	// latestVersion is the latest version of the chart in the repository.
	// +optional
	LatestVersion string `json:"latestVersion,omitempty"`
	// latestPatchVersion is the latest version that differs only in the patch level.
	// +optional
	LatestPatchVersion string `json:"latestPatchVersion,omitempty"`
	// lastCheckedTime is when the repository was asked last.
	// +optional
	LastCheckedTime *metav1.Time `json:"lastCheckedTime,omitempty"`
}

// ClusterSummaryStatus says how far the deployment of a profile to a cluster is.
type ClusterSummaryStatus struct {
	// dependencies says which profiles are waited for.
	// +optional
	Dependencies *string `json:"dependencies,omitempty"`
	// featureSummaries are the states of the features.
	// +listType=map
	// +listMapKey=featureID
	// +patchMergeKey=featureID
	// +patchStrategy=merge
	// +optional
	FeatureSummaries []FeatureSummary `json:"featureSummaries,omitempty" patchStrategy:"merge" patchMergeKey:"featureID"`
	// deployedGVKs are the kinds of deployed objects.
	// +listType=map
	// +listMapKey=featureID
	// +patchMergeKey=featureID
	// +patchStrategy=merge
	// +optional
	DeployedGVKs []FeatureDeploymentInfo `json:"deployedGVKs,omitempty" patchStrategy:"merge" patchMergeKey:"featureID"`
	// helmReleaseSummaries are the states of the releases.
	// +listType=atomic
	// +optional
	HelmReleaseSummaries []HelmChartSummary `json:"helmReleaseSummaries,omitempty"`
	// nextReconcileTime is when the deployment is tried again.
	// +optional
	NextReconcileTime *metav1.Time `json:"nextReconcileTime,omitempty"`
	// reconciliationSuspended says that nothing is deployed for now.
	// +optional
	ReconciliationSuspended bool `json:"reconciliationSuspended,omitempty"`
	// suspensionReason says why nothing is deployed for now.
	// +optional
	SuspensionReason *string `json:"suspensionReason,omitempty"`
	// failureMessage says what failed before any feature was reached.
	// +optional
	FailureMessage *string `json:"failureMessage,omitempty"`
	// observedGeneration is the generation of the spec that the status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are the states of the summary, with the time of their last change.
	// +listType=map
	// +listMapKey=type
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
