// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterProfile says what to deploy to which managed clusters of any namespace.
type ClusterProfile struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ProfileSpec
	Status ProfileStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterProfileList is a list of ClusterProfiles.
type ClusterProfileList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ClusterProfile
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Profile says what to deploy to which managed clusters of its own namespace.
type Profile struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ProfileSpec
	Status ProfileStatus
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ProfileList is a list of Profiles.
type ProfileList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []Profile
}

// SyncMode says when content is deployed.
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
	ClusterSelector        lib.Selector
	ClusterRefs            []corev1.ObjectReference
	SetRefs                []string
	SyncMode               SyncMode
	Tier                   int32
	ContinueOnConflict     bool
	ContinueOnError        bool
	MaxConsecutiveFailures *int32
	MaxUpdate              *intstr.IntOrString
	StopMatchingBehavior   StopMatchingBehavior
	Reloader               bool
	DependsOn              []string
	TemplateResourceRefs   []TemplateResourceRef
	PolicyRefs             []PolicyRef
	HelmCharts             []HelmChart
	KustomizationRefs      []KustomizationRef
	ValidateHealths        []lib.ValidateHealth
	PreDeployChecks        []lib.ValidateHealth
	PreDeleteChecks        []lib.ValidateHealth
	PostDeleteChecks       []lib.ValidateHealth
	Patches                []lib.Patch
	PatchesFrom            []ValueFrom
	DriftExclusions        []lib.DriftExclusion
	ExtraLabels            map[string]string
	ExtraAnnotations       map[string]string
	TransitionFrom         string
	FeatureOrder           []lib.FeatureID
}

// TemplateResourceRef makes an object of the host cluster available to templates.
type TemplateResourceRef struct {
	Identifier          string
	Resource            corev1.ObjectReference
	Optional            bool
	IgnoreStatusChanges bool
	WatchFields         []string
}

// UpdatingClusters are clusters with a version of the profile.
type UpdatingClusters struct {
	Hash     []byte
	Clusters []corev1.ObjectReference
}

// FailedCluster is a cluster to which deployment failed.
type FailedCluster struct {
	ClusterRef      corev1.ObjectReference
	FailureMessage  string
	LastFailureTime *metav1.Time
}

// ProfileStatus is the status of a ClusterProfile and of a Profile. How each
// cluster fares is in its ClusterSummary.
type ProfileStatus struct {
	MatchingClusters        []corev1.ObjectReference
	MatchingClusterCount    int32
	ProvisionedClusterCount int32
	FailedClusters          []FailedCluster
	UpdatingClusters        UpdatingClusters
	UpdatedClusters         UpdatingClusters
	DependenciesHash        []byte
	ReconciliationSuspended bool
	SuspensionReason        *string
	ObservedGeneration      int64
	Conditions              []metav1.Condition
}
