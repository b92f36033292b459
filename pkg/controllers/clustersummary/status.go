// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"cmp"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/brief"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/health"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/remote"
)

// maxMessage bounds a failure message, in bytes: a joined error of a thousand
// objects helps nobody and would be copied to every watcher.
const maxMessage = 4096

// desiredStatus is what a summary's status says, given what has to be done and
// how the last job ended.
func desiredStatus(summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster, v verdict, last *outcome) configv1beta1.ClusterSummaryStatus {
	status := *summary.Status.DeepCopy()
	status.ObservedGeneration = summary.Generation
	status.ReconciliationSuspended, status.SuspensionReason = v == verdictPaused, nil
	if v == verdictPaused {
		status.SuspensionReason = ptr.To("the cluster is paused (spec.paused)")
	}
	status.NextReconcileTime = nextTry(v, last)
	if last != nil {
		status.FailureMessage = message(last.err)
		writeFeatures(&status, summary, last)
		writeReleases(&status, last)
	}
	set := func(condition metav1.Condition) {
		condition.ObservedGeneration = summary.Generation
		condition.Message = bounded(condition.Message)
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	set(readyCondition(summary, v, last))
	set(reachableCondition(cluster))
	set(conflictCondition(summary, last))
	setProgress(&status)
	return status
}

// nextTry is when what failed is tried again if nothing changes before, nil if nothing has
// failed, or something else has to happen first. It stays while that is tried: failures are
// counted in the status too, and it is to be written no more often than for them.
func nextTry(v verdict, last *outcome) *metav1.Time {
	if v != verdictRetryLater && v != verdictWork || last == nil || !last.failed() || last.final ||
		reasonOf(errors.Join(last.err, resultError(last.result))) == configv1beta1.ReasonProvisioning {
		return nil
	}
	return ptr.To(metav1.NewTime(last.retryAt()).Rfc3339Copy())
}

// writeFeatures fills in the state of each list that the profile has, or that
// the last job had something to do with.
func writeFeatures(status *configv1beta1.ClusterSummaryStatus, summary *configv1beta1.ClusterSummary, last *outcome) {
	features := map[libv1beta1.FeatureID]bool{
		libv1beta1.FeatureResources: len(summary.Spec.ClusterProfileSpec.PolicyRefs) > 0,
		libv1beta1.FeatureHelm:      len(summary.Spec.ClusterProfileSpec.HelmCharts) > 0,
		libv1beta1.FeatureKustomize: len(summary.Spec.ClusterProfileSpec.KustomizationRefs) > 0,
	}
	before := status.FeatureSummaries
	status.FeatureSummaries, status.DeployedGVKs = nil, nil
	for _, id := range []libv1beta1.FeatureID{libv1beta1.FeatureResources, libv1beta1.FeatureHelm, libv1beta1.FeatureKustomize} {
		if !features[id] {
			continue
		}
		feature := configv1beta1.FeatureSummary{FeatureID: id}
		if i := slices.IndexFunc(before, func(f configv1beta1.FeatureSummary) bool { return f.FeatureID == id }); i >= 0 {
			feature = before[i]
		}
		kinds := kindsOf(id, last.result)
		status.FeatureSummaries = append(status.FeatureSummaries, featureSummary(feature, summary, last, kinds))
		if len(kinds) > 0 {
			status.DeployedGVKs = append(status.DeployedGVKs, configv1beta1.FeatureDeploymentInfo{FeatureID: id, DeployedGroupVersionKind: kinds})
		}
	}
}

func featureSummary(feature configv1beta1.FeatureSummary, summary *configv1beta1.ClusterSummary, last *outcome, kinds []string) configv1beta1.FeatureSummary {
	result, passed := last.result.Features[deploy.Feature(feature.FeatureID)]
	err := errors.Join(last.err, last.result.Err, result.Err)
	feature.FailureReason, feature.FailureMessage = nil, nil
	feature.ConsecutiveFailures = 0
	feature.DeployedGroupVersionKind = kinds
	switch {
	case inDryRun(summary, last):
		// As upstream: never Provisioned, and no failure.
		feature.Status = configv1beta1.FeatureStatusProvisioning
		feature.FailureMessage = ptr.To(bounded(dryRunMessage(last.dryRun)))
		if err != nil {
			feature.FailureMessage = message(err)
		}
	case last.withdrawn:
		feature.Status = configv1beta1.FeatureStatusRemoved
	case summary.Spec.Withdraw || !summary.DeletionTimestamp.IsZero():
		feature.Status = configv1beta1.FeatureStatusRemoving
		feature.FailureMessage = message(err)
	case err != nil && reasonOf(err) == configv1beta1.ReasonProvisioning:
		feature.Status = configv1beta1.FeatureStatusProvisioning
		feature.FailureMessage = message(err)
	case err != nil:
		feature.Status = configv1beta1.FeatureStatusFailed
		if isFinal(result.Err) {
			feature.Status = configv1beta1.FeatureStatusFailedNonRetriable
		}
		feature.FailureReason = ptr.To(reasonOf(err))
		feature.FailureMessage = message(err)
		feature.ConsecutiveFailures = int32(cmp.Or(last.inARow[deploy.Feature(feature.FeatureID)], last.failures))
	case passed:
		feature.Status = configv1beta1.FeatureStatusProvisioned
	}
	if passed && result.Hash != "" {
		feature.Hash = []byte(result.Hash)
	}
	if passed && err == nil && (result.Applied > 0 || feature.LastAppliedTime == nil) {
		feature.LastAppliedTime = ptr.To(metav1.NewTime(last.ended).Rfc3339Copy())
	}
	return feature
}

// kindsOf are the kinds of what is deployed, as in Deployment.v1.apps.
func kindsOf(id libv1beta1.FeatureID, result deploy.Result) []string {
	if result.Record == nil {
		return nil
	}
	var kinds []string
	for _, object := range result.Record.Objects {
		if object.Feature == string(id) {
			kinds = append(kinds, object.Kind+"."+object.Version+"."+object.Group)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// writeReleases lists the releases that the profile has, and those that it asks
// for and another profile has.
func writeReleases(status *configv1beta1.ClusterSummaryStatus, last *outcome) {
	if last.result.Record == nil {
		if last.withdrawn {
			status.HelmReleaseSummaries = nil
		}
		return
	}
	status.HelmReleaseSummaries = nil
	failures := releaseFailures(last.result.Features[deploy.Helm].Err)
	for _, r := range last.result.Record.Releases {
		status.HelmReleaseSummaries = append(status.HelmReleaseSummaries, releaseSummary(r, failures[r.ReleaseKey]))
		delete(failures, r.ReleaseKey)
	}
	for _, wanted := range last.result.Record.WantedReleases {
		summary := configv1beta1.HelmChartSummary{
			ReleaseName: wanted.Name, ReleaseNamespace: wanted.Namespace, Status: configv1beta1.HelmChartStatusConflict,
		}
		if conflict := conflictOver(wanted.String(), last.result.Features[deploy.Helm].Err); conflict != nil {
			summary.ConflictMessage = bounded(conflict.Error())
		}
		status.HelmReleaseSummaries = append(status.HelmReleaseSummaries, summary)
		delete(failures, wanted)
	}
	status.HelmReleaseSummaries = append(status.HelmReleaseSummaries, missingReleases(failures)...)
}

// conflictOver finds the conflict over one object or release among all that went
// wrong, nil if there is none.
func conflictOver(object string, err error) *deploy.ConflictError {
	switch err := err.(type) {
	case *deploy.ConflictError:
		if err.Object == object {
			return err
		}
	case interface{ Unwrap() []error }:
		for _, one := range err.Unwrap() {
			if conflict := conflictOver(object, one); conflict != nil {
				return conflict
			}
		}
	case interface{ Unwrap() error }:
		return conflictOver(object, err.Unwrap())
	}
	return nil
}

// readyCondition is true when the cluster has what the profile asks for.
func readyCondition(summary *configv1beta1.ClusterSummary, v verdict, last *outcome) metav1.Condition {
	condition := metav1.Condition{Type: configv1beta1.ConditionReady, Status: metav1.ConditionFalse}
	var err error
	if last != nil {
		err = errors.Join(last.err, resultError(last.result))
	}
	switch {
	case inDryRun(summary, last) && err == nil && v != verdictPaused && v != verdictWaitForCluster:
		condition.Reason, condition.Message = configv1beta1.ReasonDryRun, dryRunMessage(last.dryRun)
	case summary.Spec.Withdraw || !summary.DeletionTimestamp.IsZero():
		condition.Reason, condition.Message = configv1beta1.ReasonWithdrawing, "Being withdrawn from the cluster."
		if v == verdictWaitForCluster {
			condition.Message = "Is withdrawn as soon as the cluster answers again."
		} else if err != nil {
			condition.Message = err.Error()
			if reason := reasonOf(err); reason == configv1beta1.ReasonRevisionLost {
				condition.Reason = reason
			}
		}
	case v == verdictDone, v == verdictWaitForCluster && wasReady(summary), v == verdictPaused && wasReady(summary),
		v == verdictBlocked && wasReady(summary),
		v == verdictWork && last == nil && wasJudged(summary):
		return *meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
	case v == verdictAnew:
		condition.Reason, condition.Message = configv1beta1.ReasonProvisioning, "Was deployed to another cluster, which answered under this name before."
	case v == verdictPaused:
		condition.Reason, condition.Message = configv1beta1.ReasonPaused, "The cluster is paused."
	case v == verdictBlocked:
		condition.Reason = configv1beta1.ReasonWaitingForPrerequisites // and what for is said by flow
	case v == verdictWaitForCluster:
		condition.Reason, condition.Message = configv1beta1.ReasonClusterUnreachable, "Waiting for "+clusterref.OfSummary(summary).String()+" to be ready."
	case err != nil:
		condition.Reason, condition.Message = reasonOf(err), err.Error()
	case v == verdictNothing:
		condition.Status, condition.Reason = metav1.ConditionTrue, configv1beta1.ReasonProvisioned
	default:
		condition.Reason = configv1beta1.ReasonProvisioning
	}
	return condition
}

// wasReady reports whether the summary has been found ready as it is now.
func wasReady(summary *configv1beta1.ClusterSummary) bool {
	ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == summary.Generation
}

// wasJudged reports whether the summary says how the last job ended for the spec
// that it has. A new leader, whose first job it does not know the end of, has no
// better answer: else every change of leaders would take all summaries' readiness
// back for a moment, and announce all failures anew.
func wasJudged(summary *configv1beta1.ClusterSummary) bool {
	ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
	return ready != nil && ready.ObservedGeneration == summary.Generation &&
		(ready.Status == metav1.ConditionTrue || configv1beta1.IsFailure(ready.Reason))
}

func reachableCondition(cluster *libv1beta1.SveltosCluster) metav1.Condition {
	if cluster.Status.Ready {
		return metav1.Condition{Type: configv1beta1.ConditionClusterReachable, Status: metav1.ConditionTrue, Reason: configv1beta1.ReasonClusterReachable}
	}
	condition := metav1.Condition{Type: configv1beta1.ConditionClusterReachable, Status: metav1.ConditionFalse, Reason: configv1beta1.ReasonClusterUnreachable}
	if cluster.Status.FailureMessage != nil {
		condition.Message = *cluster.Status.FailureMessage
	}
	return condition
}

func conflictCondition(summary *configv1beta1.ClusterSummary, last *outcome) metav1.Condition {
	if known := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionConflict); known != nil && last == nil {
		return *known
	}
	var conflict *deploy.ConflictError
	if last != nil && errors.As(resultError(last.result), &conflict) && !conflict.Temporary {
		return metav1.Condition{
			Type: configv1beta1.ConditionConflict, Status: metav1.ConditionTrue,
			Reason: configv1beta1.ReasonConflict, Message: conflict.Error(),
		}
	}
	return metav1.Condition{Type: configv1beta1.ConditionConflict, Status: metav1.ConditionFalse, Reason: configv1beta1.ReasonNoConflict}
}

// reasonOf is the word for what went wrong.
func reasonOf(err error) string {
	var pending *deploy.PendingError
	var conflict *deploy.ConflictError
	var source *SourceError
	var invalid *render.SourceError
	var patch *render.PatchError
	var fetched *remote.Error
	var outside *reach.Error
	var object *hostobjects.Error
	var chart *release.ChartError
	var lost *revisionLostError
	var waiting *deploy.WaitingError
	var successor *successorError
	var unhealthy *health.Failure
	switch {
	case errors.As(err, &unhealthy):
		return configv1beta1.ReasonChecksFailed
	case errors.As(err, &lost):
		return configv1beta1.ReasonRevisionLost
	case errors.As(err, &pending), errors.As(err, &conflict) && conflict.Temporary, errors.Is(err, fleet.ErrSuperseded):
		return configv1beta1.ReasonProvisioning
	case errors.As(err, &conflict):
		return configv1beta1.ReasonConflict
	case errors.As(err, &object) && object.Missing():
		return configv1beta1.ReasonSourceMissing
	case errors.As(err, &outside), errors.As(err, &object) && object.Refused():
		return configv1beta1.ReasonSourceInvalid
	case errors.As(err, &source):
		return configv1beta1.ReasonSourceMissing
	case errors.As(err, &invalid), errors.As(err, &patch):
		return configv1beta1.ReasonSourceInvalid
	case errors.As(err, &chart) && chart.Reason == release.NotFound, errors.As(err, &fetched) && fetched.Reason == remote.NotFound:
		return configv1beta1.ReasonSourceMissing
	case errors.As(err, &chart) && chart.Reason != release.Unreachable, errors.As(err, &fetched) && fetched.Reason != remote.Unreachable:
		return configv1beta1.ReasonSourceInvalid
	case errors.As(err, &waiting), errors.As(err, &successor):
		return configv1beta1.ReasonProvisioning
	}
	return configv1beta1.ReasonFailed
}

func message(err error) *string {
	if err == nil {
		return nil
	}
	return ptr.To(bounded(err.Error()))
}

func bounded(text string) string { return brief.Text(text, maxMessage) }
