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
	// ConditionPaused of a profile is true while it is not reconciled. It is there only
	// then.
	ConditionPaused = "Paused"
	// ConditionDependenciesResolved of a profile that depends on others is false if one
	// of them does not exist, or depends on this one.
	ConditionDependenciesResolved = "DependenciesResolved"
	// ConditionDriftContested of a ClusterSummary whose profile undoes drift is true if
	// somebody changes back again and again what was applied, and unknown while drift
	// cannot be noticed.
	ConditionDriftContested = "DriftContested"
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
	// ReasonWaitingForPrerequisites: a profile that this one depends on is not deployed to
	// the cluster yet, or one that depends on this one is not withdrawn from it yet.
	ReasonWaitingForPrerequisites = "WaitingForPrerequisites"
	// ReasonWaitingForChecks: what is deployed has not passed its checks yet.
	ReasonWaitingForChecks = "WaitingForChecks"
	// ReasonChecksFailed: a check does not pass, before the deployment or for more than a
	// minute after it.
	ReasonChecksFailed = "ChecksFailed"
	// ReasonDependencyMissing: a profile that this one depends on does not exist.
	ReasonDependencyMissing = "DependencyMissing"
	// ReasonDependencyCycle: a profile depends on itself through others.
	ReasonDependencyCycle = "DependencyCycle"
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
	// ReasonDryRun: the profile is in mode DryRun. Nothing is deployed; a ClusterReport
	// says what would be.
	ReasonDryRun = "DryRun"
	// ReasonDrifted of an event: something that was deployed was changed, and was
	// applied again.
	ReasonDrifted = "Drifted"
	// ReasonReloadFailed of an event: workloads could not be restarted when what they
	// use changed.
	ReasonReloadFailed = "ReloadFailed"
	// ReasonContested: somebody changes what was applied again and again.
	ReasonContested = "Contested"
	// ReasonNotContested: nobody does.
	ReasonNotContested = "NotContested"
	// ReasonNotWatched: the cluster does not let deployed objects be watched.
	ReasonNotWatched = "NotWatched"
)

// IsFailure tells a reason of condition Ready that says what went wrong from one
// that says what is merely not done yet.
func IsFailure(reason string) bool {
	switch reason {
	case ReasonFailed, ReasonConflict, ReasonSourceMissing, ReasonSourceInvalid, ReasonRevisionLost, ReasonChecksFailed:
		return true
	}
	return false
}
