// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSummary is a profile in one managed cluster: what it deploys there and
// how far that is. Muster makes one for every profile and cluster that match, in
// the namespace of the cluster.
type ClusterSummary struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ClusterSummarySpec
	Status ClusterSummaryStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterSummaryList is a list of ClusterSummaries.
type ClusterSummaryList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ClusterSummary
}

// ClusterSummarySpec names a cluster and a version of a profile.
type ClusterSummarySpec struct {
	ClusterNamespace   string
	ClusterName        string
	ClusterType        lib.ClusterType
	ClusterProfileSpec ProfileSpec
	ProfileRevision    string
	MatchedBy          []MatchCause
	Withdraw           bool
	ServiceAccount     *TenantServiceAccount
}

// TenantServiceAccount names the ServiceAccount of a tenant on the host cluster.
type TenantServiceAccount struct {
	Namespace string
	Name      string
}

// MatchCauseKind is a kind of cause.
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
	Kind MatchCauseKind
	Name string
}

// FeatureStatus is the state of a feature in a cluster.
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
	FeatureID                lib.FeatureID
	Status                   FeatureStatus
	Hash                     []byte
	FailureReason            *string
	FailureMessage           *string
	ConsecutiveFailures      int32
	DeployedGroupVersionKind []string
	LastAppliedTime          *metav1.Time
	ResourceSummaryDeployed  bool
}

// FeatureDeploymentInfo are the kinds of objects that a feature has deployed.
type FeatureDeploymentInfo struct {
	FeatureID                lib.FeatureID
	DeployedGroupVersionKind []string
}

// HelmChartStatus says who has a release.
type HelmChartStatus string

const (
	// HelmChartStatusManaging means that this profile has it.
	HelmChartStatusManaging HelmChartStatus = "Managing"
	// HelmChartStatusConflict means that another profile has it.
	HelmChartStatusConflict HelmChartStatus = "Conflict"
)

// HelmChartSummary is the state of one release in a cluster.
type HelmChartSummary struct {
	ReleaseName          string
	ReleaseNamespace     string
	Status               HelmChartStatus
	ChartName            string
	ChartVersion         string
	RepoURL              string
	RepositoryName       string
	CredentialsSecretRef *lib.SecretReference
	ValuesHash           []byte
	PatchesHash          []byte
	ConflictMessage      string
	FailureMessage       *string
	NeedsRedeploy        bool
	LatestVersion        string
	LatestPatchVersion   string
	LastCheckedTime      *metav1.Time
}

// ClusterSummaryStatus says how far the deployment of a profile to a cluster is.
type ClusterSummaryStatus struct {
	Dependencies            *string
	FeatureSummaries        []FeatureSummary
	DeployedGVKs            []FeatureDeploymentInfo
	HelmReleaseSummaries    []HelmChartSummary
	NextReconcileTime       *metav1.Time
	ReconciliationSuspended bool
	SuspensionReason        *string
	FailureMessage          *string
	ObservedGeneration      int64
	Conditions              []metav1.Condition
}
