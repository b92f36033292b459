// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// verdict is what has to be done for a summary now.
type verdict string

const (
	// verdictNothing: the last job left everything as it should be.
	verdictNothing verdict = "Nothing"
	// verdictWork: the cluster's worker has something to do.
	verdictWork verdict = "Work"
	// verdictRetryLater: the last job failed and is not due again yet.
	verdictRetryLater verdict = "RetryLater"
	// verdictWaitForCluster: the cluster is not ready; when it is, there may be
	// something to do.
	verdictWaitForCluster verdict = "WaitForCluster"
	// verdictPaused: the cluster is paused.
	verdictPaused verdict = "Paused"
	// verdictBlocked: there is something to do, and other profiles or checks come first.
	verdictBlocked verdict = "Blocked"
	// verdictChecking: the last job left everything as it should be, and what is deployed
	// has not passed its checks.
	verdictChecking verdict = "Checking"
	// verdictDone: OneTime, and the one time is over.
	verdictDone verdict = "Done"
	// verdictAnew: OneTime, and the one time was another cluster's, which answered
	// under the same name before. The status has to say that it is not deployed
	// before the work begins: the inventory that tells the clusters apart is
	// dropped by it, and a leader that comes in between would know nothing.
	verdictAnew verdict = "Anew"
)

// situation is all that a verdict depends on.
type situation struct {
	summary *configv1beta1.ClusterSummary
	cluster *libv1beta1.SveltosCluster
	// fingerprint is of what should be deployed now.
	fingerprint string
	// last is how the last job ended, nil before the first one of this term.
	last *outcome
	// elsewhere is true if what is deployed is on another cluster, which answered
	// under the same name before.
	elsewhere bool
	// dirty is true if a source changed since the last job began.
	dirty bool
	// suspended is true if the summary, its profile or the cluster is paused.
	suspended bool
	now       time.Time
}

// decide says what has to be done for a summary that is not being deleted, and
// after which time to look again, zero if only a change makes that necessary.
func decide(s situation) (verdict, time.Duration) {
	switch {
	case s.cluster.Spec.Paused || s.suspended:
		return verdictPaused, 0
	case !s.cluster.Status.Ready:
		return verdictWaitForCluster, 0
	case deployedOnce(s.summary) && s.elsewhere:
		return verdictAnew, 0
	case deployedOnce(s.summary):
		return verdictDone, 0
	case s.last == nil || s.dirty || s.last.fingerprint != s.fingerprint:
		return verdictWork, 0
	case !s.last.failed(), s.last.final:
		return decideRefresh(s)
	}
	if wait := s.last.retryAt().Sub(s.now); wait > 0 {
		return verdictRetryLater, wait
	}
	return verdictWork, 0
}

// decideRefresh lets what is deployed rest until a source of it has to be fetched
// again.
func decideRefresh(s situation) (verdict, time.Duration) {
	if s.last.refresh.IsZero() {
		return verdictNothing, 0
	}
	if wait := s.last.refresh.Sub(s.now); wait > 0 {
		return verdictNothing, wait
	}
	return verdictWork, 0
}

// deployedOnce reports whether a OneTime profile has had its one time, for the
// spec that it has now.
func deployedOnce(summary *configv1beta1.ClusterSummary) bool {
	ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
	return summary.Spec.ClusterProfileSpec.SyncMode == configv1beta1.SyncModeOneTime &&
		ready != nil && ready.Reason == configv1beta1.ReasonProvisioned && ready.ObservedGeneration == summary.Generation
}
