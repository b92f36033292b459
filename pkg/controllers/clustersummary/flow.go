// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/pause"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/health"
)

// errHeld says that a job must not begin: what allowed it when it was queued has changed
// since. The reconciler decides anew.
var errHeld = errors.New("something comes first")

// flow is what else than its own state decides whether a summary's work is done now: who
// paused it, the other profiles on the cluster, and checks.
type flow struct {
	summary *configv1beta1.ClusterSummary
	cluster *libv1beta1.SveltosCluster
	// suspended is why nothing is deployed, frozen why nothing is withdrawn either.
	suspended, frozen pause.Reason
	// retrigger changes when a person asks for another pass.
	retrigger string
	// dependencies is what status.dependencies says.
	dependencies *string
	// reason and waiting say what is waited for, empty if nothing is.
	reason, waiting string
	// health is what validateHealths came to, if they have.
	health judgement
}

// flowOf looks at who paused a summary, or wants another pass of it.
func (r *Reconciler) flowOf(ctx context.Context, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (*flow, error) {
	f := &flow{summary: summary, cluster: cluster}
	var of client.Object
	if owner, err := ownerOf(summary); err == nil {
		if of, err = profile.Read(ctx, r.Client, profileKey(owner.Key())); err != nil {
			return nil, err
		}
	}
	f.frozen = pause.OfSummary(summary, of)
	if f.suspended = pause.OfCluster(cluster, r.Now()); f.frozen.Paused() {
		f.suspended = f.frozen
	}
	f.retrigger = summary.Annotations[libv1beta1.AnnotationRetrigger]
	if of != nil && of.GetAnnotations()[libv1beta1.AnnotationRetrigger] != "" {
		f.retrigger += "/" + of.GetAnnotations()[libv1beta1.AnnotationRetrigger]
	}
	return f, nil
}

// print adds to a fingerprint what makes a pass due beyond what it deploys.
func (f *flow) print(fingerprint string) string {
	if f.retrigger == "" {
		return fingerprint
	}
	return fingerprint + "/" + f.retrigger
}

// due are the checks of those lists that the profile has: there is nothing to check of the
// others, nor of what is not deployed.
func (f *flow) due(checks []libv1beta1.ValidateHealth) []libv1beta1.ValidateHealth {
	spec := &f.summary.Spec.ClusterProfileSpec
	if spec.SyncMode == configv1beta1.SyncModeDryRun {
		return nil
	}
	has := map[libv1beta1.FeatureID]bool{
		libv1beta1.FeatureResources: len(spec.PolicyRefs) > 0,
		libv1beta1.FeatureHelm:      len(spec.HelmCharts) > 0,
		libv1beta1.FeatureKustomize: len(spec.KustomizationRefs) > 0,
	}
	return slices.DeleteFunc(slices.Clone(checks), func(c libv1beta1.ValidateHealth) bool { return !has[c.FeatureID] })
}

// token names one pass: checks before it are made for it alone.
func token(print string, last *outcome) string {
	if last == nil {
		return print
	}
	return print + "@" + last.ended.Format(time.RFC3339Nano)
}

// hold keeps back work that something else comes before, and tells what has passed its
// checks from what has not.
func (r *Reconciler) hold(ctx context.Context, f *flow, print string, v verdict, last *outcome) (verdict, error) {
	spec := &f.summary.Spec.ClusterProfileSpec
	if f.summary.Spec.Withdraw {
		if v != verdictWork {
			return v, nil
		}
		if spec.SyncMode != configv1beta1.SyncModeDryRun {
			// It is about to be deleted, and waits then for those who may want what it has.
			return verdictBlocked, nil
		}
		held, err := r.holdWithdrawal(ctx, f)
		if held {
			return verdictBlocked, err
		}
		return v, err
	}
	waiting, err := r.awaitPrerequisites(ctx, f)
	if err != nil {
		return v, err
	}
	switch {
	case v == verdictWork && waiting != "":
		f.reason, f.waiting = configv1beta1.ReasonWaitingForPrerequisites, waiting
		return verdictBlocked, nil
	case v == verdictWork && len(f.due(spec.PreDeployChecks)) > 0:
		if _, known := r.ask(f, beforeDeployment, token(print, last), f.due(spec.PreDeployChecks)); !known {
			f.reason, f.waiting = configv1beta1.ReasonWaitingForChecks, "The preDeployChecks are being made."
			return verdictBlocked, nil
		}
	case v == verdictNothing && len(f.due(spec.ValidateHealths)) > 0 && !last.failed() && !last.validated:
		var known bool
		f.health, known = r.ask(f, afterDeployment, token(print, last), f.due(spec.ValidateHealths))
		if !known || len(f.health.failures) > 0 {
			return verdictChecking, nil
		}
		r.memory.validated(client.ObjectKeyFromObject(f.summary))
	}
	return v, nil
}

// holdWithdrawal reports whether a withdrawal has to wait: for a person, for profiles that
// depend on this one, or for checks.
func (r *Reconciler) holdWithdrawal(ctx context.Context, f *flow) (bool, error) {
	if f.frozen.Paused() {
		f.reason, f.waiting = configv1beta1.ReasonPaused, "Is not withdrawn: "+f.frozen.Text+"."
		return true, nil
	}
	dependants, err := r.dependantsHere(ctx, f.summary)
	if err != nil {
		return false, err
	}
	if len(dependants) > 0 {
		f.reason = configv1beta1.ReasonWaitingForPrerequisites
		f.waiting = fmt.Sprintf("Is withdrawn after what depends on it: %s.", strings.Join(dependants, ", "))
		return true, nil
	}
	spec := &f.summary.Spec.ClusterProfileSpec
	if len(spec.PreDeleteChecks) == 0 || spec.StopMatchingBehavior == configv1beta1.LeavePolicies || !f.cluster.Status.Ready {
		return false, nil
	}
	result, known := r.ask(f, beforeWithdrawal, f.withdrawal(), spec.PreDeleteChecks)
	return f.waitForChecks(result, known, "Is withdrawn when its preDeleteChecks pass"), nil
}

// confirmWithdrawn reports whether the checks after a withdrawal have passed.
func (r *Reconciler) confirmWithdrawn(f *flow) bool {
	spec := &f.summary.Spec.ClusterProfileSpec
	if len(spec.PostDeleteChecks) == 0 || spec.StopMatchingBehavior == configv1beta1.LeavePolicies {
		return true
	}
	result, known := r.ask(f, afterWithdrawal, f.withdrawal(), spec.PostDeleteChecks)
	return !f.waitForChecks(result, known, "Is withdrawn, and gone when its postDeleteChecks pass")
}

// withdrawal names the withdrawal of a summary: that of another revision has other checks.
func (f *flow) withdrawal() string {
	return string(f.summary.UID) + "/" + f.summary.Spec.ProfileRevision
}

func (f *flow) waitForChecks(result judgement, known bool, text string) bool {
	if known && len(result.failures) == 0 {
		return false
	}
	f.reason, f.waiting = configv1beta1.ReasonWaitingForChecks, text+"."
	if known {
		f.waiting = text + ": " + result.text() + "."
	}
	return true
}

// mayBegin decides once more what hold has decided, when a job begins. It returns what
// preDeployChecks keep back.
func (r *Reconciler) mayBegin(ctx context.Context, f *flow, print string, withdraw bool) ([]health.Failure, error) {
	if withdraw {
		return nil, r.mayWithdraw(ctx, f)
	}
	if f.suspended.Paused() {
		return nil, errHeld
	}
	waiting, err := r.awaitPrerequisites(ctx, f)
	if err == nil && waiting != "" {
		err = errHeld
	}
	if err != nil || len(f.due(f.summary.Spec.ClusterProfileSpec.PreDeployChecks)) == 0 {
		return nil, err
	}
	name := client.ObjectKeyFromObject(f.summary)
	last, _ := r.memory.last(name, f.summary.UID)
	result, known := r.gates.known(gateKey{name, beforeDeployment}, token(print, last))
	if !known {
		return nil, errHeld
	}
	return result.failures, nil
}

// mayWithdraw is mayBegin for a withdrawal. The job may have been queued for something
// else, so that nobody has waited for those who may want what is withdrawn.
func (r *Reconciler) mayWithdraw(ctx context.Context, f *flow) error {
	held, err := r.holdWithdrawal(ctx, f)
	if err == nil && !held && f.summary.Spec.ClusterProfileSpec.SyncMode != configv1beta1.SyncModeDryRun {
		var wait time.Duration
		wait, err = r.awaitHeirs(ctx, f.summary, f.cluster)
		held = wait > 0
	}
	if err == nil && held {
		err = errHeld
	}
	return err
}

// block keeps the lists back whose preDeployChecks do not pass: nothing of them is
// applied, here or on the host, and nothing of the profile is pruned.
func block(request *deploy.Request, local map[deploy.Feature][]deploy.Object, failures []health.Failure) {
	for i := range failures {
		failure := &failures[i]
		delete(local, deploy.Feature(failure.Feature))
		switch feature := deploy.Feature(failure.Feature); feature {
		case deploy.Helm:
			request.Charts = deploy.ChartList{Err: fmt.Errorf("preDeployChecks: %w", failure)}
		default:
			request.Objects = slices.DeleteFunc(request.Objects, func(l deploy.ObjectList) bool { return l.Feature == feature })
			request.Objects = append(request.Objects, deploy.ObjectList{Feature: feature, Err: fmt.Errorf("preDeployChecks: %w", failure)})
		}
	}
}

// staysValidated reports whether a pass that changed nothing has found what passed its
// checks before, so that neither a source that is read again nor a new leader makes them
// again.
func (r *Reconciler) staysValidated(name types.NamespacedName, summary *configv1beta1.ClusterSummary, o outcome) bool {
	if o.failed() || o.withdrawn || o.result.Pruned > 0 {
		return false
	}
	for _, feature := range o.result.Features {
		if feature.Applied > 0 {
			return false
		}
	}
	if last, _ := r.memory.last(name, summary.UID); last != nil {
		return last.validated && last.fingerprint == o.fingerprint
	}
	return wasReady(summary)
}

// amend says in a status what is waited for.
func (f *flow) amend(status *configv1beta1.ClusterSummaryStatus, v verdict, last *outcome, now time.Time) {
	status.Dependencies = f.dependencies
	ready := meta.FindStatusCondition(status.Conditions, configv1beta1.ConditionReady)
	switch {
	case v == verdictPaused:
		status.ReconciliationSuspended, status.SuspensionReason = true, ptr.To(f.suspended.Text)
		if ready.Reason == configv1beta1.ReasonPaused {
			ready.Message = "Nothing is deployed: " + f.suspended.Text + "."
		}
	case v == verdictBlocked && ready.Reason == configv1beta1.ReasonWaitingForPrerequisites:
		ready.Reason, ready.Message = f.reason, bounded(f.waiting)
	case v == verdictBlocked && ready.Reason == configv1beta1.ReasonWithdrawing:
		ready.Message = bounded(f.waiting)
	case v == verdictChecking:
		ready.Reason, ready.Message = configv1beta1.ReasonWaitingForChecks, "What is deployed is being checked."
		if text := f.health.text(); text != "" {
			ready.Message = bounded("validateHealths: " + text)
		}
		if f.health.failed(now) {
			ready.Reason = configv1beta1.ReasonChecksFailed
		}
	}
	if last != nil && !last.withdrawn && !last.validated && !f.summary.Spec.Withdraw {
		f.amendFeatures(status, v, now)
	}
}

// amendFeatures takes back that a list is deployed which has not passed its checks.
func (f *flow) amendFeatures(status *configv1beta1.ClusterSummaryStatus, v verdict, now time.Time) {
	if v == verdictNothing || v == verdictDone {
		return
	}
	for i := range status.FeatureSummaries {
		feature := &status.FeatureSummaries[i]
		checked := slices.ContainsFunc(f.summary.Spec.ClusterProfileSpec.ValidateHealths,
			func(c libv1beta1.ValidateHealth) bool { return c.FeatureID == feature.FeatureID })
		if !checked || feature.Status != configv1beta1.FeatureStatusProvisioned {
			continue
		}
		failure := f.health.of(feature.FeatureID)
		if failure == nil && f.health.made {
			continue
		}
		feature.Status = configv1beta1.FeatureStatusProvisioning
		if failure == nil {
			continue
		}
		feature.FailureMessage = message(failure)
		if f.health.failed(now) {
			feature.Status, feature.FailureReason = configv1beta1.FeatureStatusFailed, ptr.To(configv1beta1.ReasonChecksFailed)
		}
	}
}
