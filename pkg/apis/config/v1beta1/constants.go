// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

// Kinds of the group.
const (
	KindClusterProfile       = "ClusterProfile"
	KindProfile              = "Profile"
	KindClusterSummary       = "ClusterSummary"
	KindClusterConfiguration = "ClusterConfiguration"
	KindClusterReport        = "ClusterReport"
	KindAddon                = "Addon"
	KindProfileHistory       = "ProfileHistory"
)

// Finalizers.
const (
	// ClusterProfileFinalizer keeps a ClusterProfile until its content is withdrawn.
	ClusterProfileFinalizer = "clusterprofilefinalizer.projectsveltos.io"
	// ProfileFinalizer keeps a Profile until its content is withdrawn.
	ProfileFinalizer = "profilefinalizer.projectsveltos.io"
	// ClusterSummaryFinalizer keeps a ClusterSummary until its content is withdrawn
	// from the cluster.
	ClusterSummaryFinalizer = "clustersummaryfinalizer.projectsveltos.io"
)

// StopMatchingBehaviorAnnotation on a ClusterSummary that is being withdrawn says
// what becomes of its content, as the profile's stopMatchingBehavior does. It is
// asked for only where nothing else says so: ReasonRevisionLost.
const StopMatchingBehaviorAnnotation = "muster.projectsveltos.io/stop-matching-behavior"

// AnnotationContentsOf on a profile is the number of a revision in its history. While
// the profile has the spec of that revision, the contents that ConfigMaps and URLs had
// then are deployed, in place of those that they have now.
const AnnotationContentsOf = "muster.projectsveltos.io/contents-of"

// Labels of an Addon.
const (
	// LabelAddonCluster is the name of the cluster.
	LabelAddonCluster = "muster.projectsveltos.io/cluster"
	// LabelAddonProfile is the name of the profile that deploys it.
	LabelAddonProfile = "muster.projectsveltos.io/profile"
	// LabelAddonType is AddonTypeHelm or AddonTypeResource.
	LabelAddonType = "muster.projectsveltos.io/type"
)

// Values of LabelAddonType.
const (
	// AddonTypeHelm is a release.
	AddonTypeHelm = "helm"
	// AddonTypeResource is an object.
	AddonTypeResource = "resource"
)

// ResourceTypeHelmChart is the resourceType of an Addon that is a release.
const ResourceTypeHelmChart = "helm chart"

// Types of conditions of profiles and ClusterSummaries.
const (
	// ConditionReady is true if everything is deployed: for a profile to all of its
	// clusters, for a ClusterSummary to its own.
	ConditionReady = "Ready"
	// ConditionSetsResolved of a profile is false if a set that it names is missing or
	// being deleted. Its last clusters then stay.
	ConditionSetsResolved = "SetsResolved"
	// ConditionClustersResolved of a profile is false if a cluster that it names is
	// missing.
	ConditionClustersResolved = "ClustersResolved"
	// ConditionConflict is true if another profile has something that this one
	// deploys too.
	ConditionConflict = "Conflict"
	// ConditionClusterReachable of a ClusterSummary is false while it waits for the
	// cluster.
	ConditionClusterReachable = "ClusterReachable"
)

// Reasons of conditions.
const (
	// ReasonProvisioned: everything is deployed.
	ReasonProvisioned = "Provisioned"
	// ReasonProvisioning: deployment has begun and not ended.
	ReasonProvisioning = "Provisioning"
	// ReasonNoMatchingClusters: there is no cluster to deploy to.
	ReasonNoMatchingClusters = "NoMatchingClusters"
	// ReasonWithdrawing: withdrawal has begun and not ended.
	ReasonWithdrawing = "Withdrawing"
	// ReasonFailed: deployment failed and is tried again.
	ReasonFailed = "Failed"
	// ReasonSourceMissing: a ConfigMap, Secret or chart is not there.
	ReasonSourceMissing = "SourceMissing"
	// ReasonSourceInvalid: a source cannot be read or rendered.
	ReasonSourceInvalid = "SourceInvalid"
	// ReasonRevisionLost: the profile's spec, which says whether its content is
	// deleted or left, cannot be read any more. Nothing is deleted until a person has
	// said so, see StopMatchingBehaviorAnnotation.
	ReasonRevisionLost = "RevisionLost"
	// ReasonConflict: another profile has something that this one deploys too.
	ReasonConflict = "Conflict"
	// ReasonNoConflict: nothing that the profile deploys is another's.
	ReasonNoConflict = "NoConflict"
	// ReasonPaused: the cluster is paused.
	ReasonPaused = "Paused"
	// ReasonClusterUnreachable: the cluster does not answer.
	ReasonClusterUnreachable = "ClusterUnreachable"
	// ReasonClusterReachable: the cluster answers.
	ReasonClusterReachable = "ClusterReachable"
	// ReasonSetMissing: a set is missing or being deleted.
	ReasonSetMissing = "SetMissing"
	// ReasonClusterMissing: a cluster is missing.
	ReasonClusterMissing = "ClusterMissing"
	// ReasonResolved: everything that is named is there.
	ReasonResolved = "Resolved"
)

// IsFailure tells a reason of condition Ready that says what went wrong from one
// that says what is merely not done yet.
func IsFailure(reason string) bool {
	switch reason {
	case ReasonFailed, ReasonConflict, ReasonSourceMissing, ReasonSourceInvalid, ReasonRevisionLost:
		return true
	}
	return false
}
