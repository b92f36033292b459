// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

// Kinds of the group.
const (
	KindSveltosCluster = "SveltosCluster"
	KindClusterSet     = "ClusterSet"
	KindSet            = "Set"
	KindSelection      = "Selection"
)

// Annotations with a meaning. Where upstream asks for the presence of a key, the
// value is ignored.
const (
	// AnnotationTemplate on a ConfigMap or Secret: its content is a Go template.
	AnnotationTemplate = "projectsveltos.io/template"
	// AnnotationLua on a ConfigMap or Secret: its content is a Lua script.
	AnnotationLua = "projectsveltos.io/lua"
	// AnnotationInstantiate on a ConfigMap or Secret that an EventTrigger refers to:
	// its content is rendered into a new object.
	AnnotationInstantiate = "projectsveltos.io/instantiate"
	// AnnotationTexTemplate on a source or profile: templates use text functions.
	AnnotationTexTemplate = "projectsveltos.io/tex-template"
	// AnnotationSubresources on a ConfigMap or Secret: a comma-separated list of
	// subresources that are applied too.
	AnnotationSubresources = "projectsveltos.io/subresources"
	// AnnotationDriftDetectionIgnore on a deployed object: it is not checked for
	// drift.
	AnnotationDriftDetectionIgnore = "projectsveltos.io/driftDetectionIgnore"
	// AnnotationForceRecreate on a deployed object: it is deleted and created again
	// if an update is refused.
	AnnotationForceRecreate = "projectsveltos.io/forceRecreate"
	// AnnotationRetrigger on a ClusterSummary or a profile: when its value changes,
	// everything is applied once more.
	AnnotationRetrigger = "projectsveltos.io/retrigger"
	// AnnotationProfilePaused on a profile: it is not reconciled.
	AnnotationProfilePaused = "profile.projectsveltos.io/paused"
	// AnnotationPaused on a ClusterSummary, a profile or a cluster: it is not reconciled.
	AnnotationPaused = "cluster.x-k8s.io/paused"
	// AnnotationShard on a cluster: the shard that serves it.
	AnnotationShard = "sharding.projectsveltos.io/key"
	// AnnotationDriftDetectionConfig on a cluster: the ConfigMap with patches for the
	// drift detection agent.
	AnnotationDriftDetectionConfig = "driftdetection.projectsveltos.io/config-override-ref"
	// AnnotationSveltosAgentConfig on a cluster: the ConfigMap with patches for the
	// agent.
	AnnotationSveltosAgentConfig = "sveltosagent.projectsveltos.io/config-override-ref"
	// AnnotationSveltosApplierConfig on a cluster: the ConfigMap with patches for the
	// applier.
	AnnotationSveltosApplierConfig = "sveltosapplier.projectsveltos.io/config-override-ref"
	// AnnotationDeployedBySveltos on an object that was copied into a managed
	// cluster.
	AnnotationDeployedBySveltos = "projectsveltos.io/deployed-by-sveltos"
	// AnnotationIgnoreBrake with value "true" on a set: it moves work although so
	// many clusters went down at once that the cause is more likely on this side.
	AnnotationIgnoreBrake = "muster.projectsveltos.io/ignore-brake"
	// AnnotationTemplateResource on a Secret: templates of profiles may see it, whatever
	// its type.
	AnnotationTemplateResource = "muster.projectsveltos.io/template-resource"
	// AnnotationFence with value "true" on a cluster: an admission policy there
	// denies the writes of Muster's former leaders.
	AnnotationFence = "muster.projectsveltos.io/fence"
)

// Annotations, and one label, that every deployed object carries. They say who
// deployed it and from what.
const (
	// LabelReason says which feature deployed the object.
	LabelReason = "projectsveltos.io/reason"
	// AnnotationHash is of what was applied.
	AnnotationHash = "projectsveltos.io/hash"
	// AnnotationOwnerKind is the kind of the profile.
	AnnotationOwnerKind = "projectsveltos.io/owner-kind"
	// AnnotationOwnerName is the name of the profile, with its namespace before a
	// slash if it has one.
	AnnotationOwnerName = "projectsveltos.io/owner-name"
	// AnnotationOwnerTier is the tier of the profile.
	AnnotationOwnerTier = "projectsveltos.io/owner-tier"
	// AnnotationReferenceKind is the kind of the source.
	AnnotationReferenceKind = "projectsveltos.io/reference-kind"
	// AnnotationReferenceName is the name of the source.
	AnnotationReferenceName = "projectsveltos.io/reference-name"
	// AnnotationReferenceNamespace is the namespace of the source.
	AnnotationReferenceNamespace = "projectsveltos.io/reference-namespace"
	// AnnotationReferenceTier is the tier of the reference to the source.
	AnnotationReferenceTier = "projectsveltos.io/reference-tier"
)

// Labels with a meaning.
const (
	// LabelK8sVersion on a SveltosCluster: its Kubernetes version, as in v1.37.0.
	LabelK8sVersion = "projectsveltos.io/k8s-version"
	// LabelSveltosAgent on a cluster: says, with value present, that it has an agent.
	LabelSveltosAgent = "sveltos-agent"
	// LabelServiceAccountName on a profile: the ServiceAccount of the tenant that the
	// profile acts as.
	LabelServiceAccountName = "projectsveltos.io/serviceaccount-name"
	// LabelServiceAccountNamespace on a profile: the namespace of that
	// ServiceAccount.
	LabelServiceAccountNamespace = "projectsveltos.io/serviceaccount-namespace"
	// LabelAdminName is what LabelServiceAccountName was called once.
	LabelAdminName = "projectsveltos.io/admin-name"
	// LabelClusterName on a ClusterSummary: the name of the cluster.
	LabelClusterName = "projectsveltos.io/cluster-name"
	// LabelClusterType on a ClusterSummary: the type of the cluster.
	LabelClusterType = "projectsveltos.io/cluster-type"
	// LabelClusterProfileName on a ClusterSummary: the name of the ClusterProfile.
	LabelClusterProfileName = "projectsveltos.io/cluster-profile-name"
	// LabelProfileName on a ClusterSummary: the name of the Profile.
	LabelProfileName = "projectsveltos.io/profile-name"
)

// SetFinalizer keeps a Set until its selection is withdrawn.
const SetFinalizer = "setfinalizer.projectsveltos.io"

// KubeconfigSecretSuffix follows the name of a SveltosCluster in the name of the
// Secret that holds its kubeconfig, unless the spec names another.
const KubeconfigSecretSuffix = "-sveltos-kubeconfig"

// Types of conditions of a SveltosCluster.
const (
	// ConditionReady is true while the cluster can be reached and its checks pass.
	ConditionReady = "Ready"
	// ConditionHasBeenReady is true once the cluster has been ready, for ever.
	ConditionHasBeenReady = "HasBeenReady"
	// ConditionCredentialsValid is false if the cluster refuses the credentials or
	// they cannot be used. That moves nothing: it is not the cluster's failure.
	ConditionCredentialsValid = "CredentialsValid"
	// ConditionChecksPassed is true if the readiness or liveness checks that are due
	// passed, false if one did not, and unknown if one could not be run to its end,
	// which moves nothing. It is there if the cluster has checks.
	ConditionChecksPassed = "ChecksPassed"
	// ConditionDuplicateRegistration is true if another object registers the same
	// cluster.
	ConditionDuplicateRegistration = "DuplicateRegistration"
	// ConditionIdentityChanged is true if another cluster answers where this one
	// was.
	ConditionIdentityChanged = "IdentityChanged"
	// ConditionFenced is true if the cluster denies the writes of Muster's former
	// leaders. It is there only where that is asked for, or was and is not undone.
	ConditionFenced = "Fenced"
	// ConditionPaused is true while nothing is deployed to the cluster: by spec.paused,
	// by an annotation, or outside of spec.activeWindow. It is there while one of them
	// is.
	ConditionPaused = "Paused"
)

// Types of conditions of a ClusterSet and of a Set.
const (
	// ConditionFailoverHalted is true while the set moves nothing, because so many
	// clusters went down at once that the cause is more likely on this side.
	ConditionFailoverHalted = "FailoverHalted"
)

// Reasons of conditions.
const (
	// ReasonReachable: the cluster answers.
	ReasonReachable = "Reachable"
	// ReasonUnreachable: as many probes failed as the threshold says.
	ReasonUnreachable = "Unreachable"
	// ReasonNotProbed: no probe has ended yet.
	ReasonNotProbed = "NotProbed"
	// ReasonProbeFailing: probes fail, not yet as many as the threshold says.
	ReasonProbeFailing = "ProbeFailing"
	// ReasonStabilizing: probes succeed again, not yet for long enough.
	ReasonStabilizing = "Stabilizing"
	// ReasonCredentialsAccepted: the cluster accepts the credentials.
	ReasonCredentialsAccepted = "CredentialsAccepted"
	// ReasonCredentialsRejected: the cluster refuses the credentials.
	ReasonCredentialsRejected = "CredentialsRejected"
	// ReasonCredentialsMissing: there is no Secret, or no such key in it.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonCredentialsInvalid: the kubeconfig cannot be read, or has in it what is
	// not allowed.
	ReasonCredentialsInvalid = "CredentialsInvalid"
	// ReasonChecksPassed: all checks that are due passed.
	ReasonChecksPassed = "ChecksPassed"
	// ReasonCheckFailed: a check did not pass.
	ReasonCheckFailed = "CheckFailed"
	// ReasonScriptError: the script of a check failed.
	ReasonScriptError = "ScriptError"
	// ReasonCheckUndecided: a check could not be run to its end.
	ReasonCheckUndecided = "CheckUndecided"
	// ReasonSameCluster: another registration has the same cluster ID.
	ReasonSameCluster = "SameCluster"
	// ReasonUnique: no other registration has this cluster ID.
	ReasonUnique = "Unique"
	// ReasonOtherCluster: the cluster ID changed.
	ReasonOtherCluster = "OtherCluster"
	// ReasonIdentityKnown: the cluster ID is what it was.
	ReasonIdentityKnown = "IdentityKnown"
	// ReasonFenceStands: the cluster denies the writes of former leaders.
	ReasonFenceStands = "FenceStands"
	// ReasonFenceNotRaised: the cluster could not be asked yet.
	ReasonFenceNotRaised = "NotRaised"
	// ReasonFenceForbidden: the kubeconfig's user lacks a right for it.
	ReasonFenceForbidden = "Forbidden"
	// ReasonFenceNotSupported: the cluster has no admission policies, or does not
	// obey them.
	ReasonFenceNotSupported = "NotSupported"
	// ReasonFenceOfAnother: the policy is another installation's, or a later
	// leader's.
	ReasonFenceOfAnother = "OfAnother"
	// ReasonFenceFailed: something else went wrong.
	ReasonFenceFailed = "Failed"
	// ReasonFenceNotRemoved: what is not asked for any more could not be removed.
	ReasonFenceNotRemoved = "NotRemoved"
	// ReasonPausedBySpec: spec.paused is true.
	ReasonPausedBySpec = "PausedBySpec"
	// ReasonPausedByAnnotation: an annotation pauses it.
	ReasonPausedByAnnotation = "PausedByAnnotation"
	// ReasonOutsideActiveWindow: the cluster's active window has not begun again.
	ReasonOutsideActiveWindow = "OutsideActiveWindow"
	// ReasonInsideActiveWindow: the cluster's active window has begun and not ended.
	ReasonInsideActiveWindow = "InsideActiveWindow"
	// ReasonManyClustersDown: the brake is on.
	ReasonManyClustersDown = "ManyClustersDown"
	// ReasonBrakeIgnored: the brake would be on, but the set says to ignore it.
	ReasonBrakeIgnored = "BrakeIgnored"
	// ReasonClustersRecovered: the brake is off again.
	ReasonClustersRecovered = "ClustersRecovered"
	// ReasonAllSelected: the set has as many ready clusters as it asks for.
	ReasonAllSelected = "AllSelected"
	// ReasonNothingAsked: the set asks for none.
	ReasonNothingAsked = "NothingAsked"
	// ReasonHoldingUnready: selected clusters are not ready and nothing can replace
	// them.
	ReasonHoldingUnready = "HoldingUnready"
	// ReasonTooFewClusters: fewer clusters match and are ready than are asked for.
	ReasonTooFewClusters = "TooFewClusters"
)
