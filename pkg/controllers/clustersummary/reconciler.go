// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clustersummary deploys profiles to clusters and withdraws them. Its
// reconciler never waits for a managed cluster: the cluster's own worker does
// the work, and wakes the reconciler when it is done.
package clustersummary

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/drift"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/reload"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/gather"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/flux"
	"github.com/muster-project/muster/pkg/render/kustomize"
	"github.com/muster-project/muster/pkg/render/remote"
)

// Options are what a Reconciler works with.
type Options struct {
	// Client reads from a cache and writes through the gate; Live reads Muster's
	// objects as they are.
	Client client.Client
	Live   client.Reader
	// Host reads ConfigMaps and Secrets of the host, not through a cache.
	Host client.Reader
	// HostCluster is the host as a cluster to deploy to, and as tenants see it.
	HostCluster HostCluster
	// HostObjects reads objects of any kind of the host for templates, and tells
	// ObjectChanged of their changes. With nil none is read.
	HostObjects *hostobjects.Store
	Clusters    *fleet.Clusters
	Workers     *fleet.Workers
	Deployer    *deploy.Deployer
	Revisions   *revision.Store
	// History is told how deployments end, nil if none is kept.
	History  *history.Store
	Renderer *render.Renderer
	// Kustomizations builds kustomizationRefs.
	Kustomizations *kustomize.Builder
	// Fetcher fetches what profiles name by a URL.
	Fetcher *remote.Fetcher
	// Strays says that there may be objects which a former leader's last writes
	// have left: they are looked for in the first job on each cluster. A server
	// that is alone has no such leader, and asks clusters nothing.
	Strays bool
	// Era is the term's; see records.Era.
	Era int64
	// Events go to the host cluster.
	Events events.EventRecorder
	// Trigger wakes the reconciler when a job has ended.
	Trigger *trigger.Source[reconcile.Request]
	// Now is the clock.
	Now func() time.Time
	// Scripts evaluate what the profiles' checks say.
	Scripts gather.Evaluator
	// Reloader restarts workloads when what they use changes.
	Reloader *reload.Reloader
	// Drift watches what was deployed; nil where nobody looks for drift. Reports keep
	// what profiles in mode DryRun would change.
	Drift   *drift.Tracker
	Reports *report.Store
}

// Reconciler keeps clusters as their ClusterSummaries say.
type Reconciler struct {
	Options
	memory *memory
	// artifacts are those of Flux's sources, which flux watches.
	artifacts *flux.Store
	flux      *fluxWatch
	gates     gates
}

// New returns a Reconciler.
func New(options Options) *Reconciler {
	if options.HostObjects == nil {
		options.HostObjects = hostobjects.NewStore(hostobjects.Options{})
	}
	r := &Reconciler{Options: options, memory: newMemory(), artifacts: flux.NewStore(options.Fetcher)}
	r.flux = newFluxWatch(r.SourceChanged, r.memory.readsKind)
	return r
}

// Reconcile decides what has to be done for one summary, has it done, and writes
// down how far it is.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	summary := &configv1beta1.ClusterSummary{}
	err := r.Client.Get(ctx, request.NamespacedName, summary)
	if apierrors.IsNotFound(err) {
		r.memory.forget(request.NamespacedName)
		r.HostObjects.Forget(request.NamespacedName)
		r.gates.forget(request.NamespacedName)
		r.untrack(request.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading ClusterSummary %s: %w", request, err)
	}
	cluster, err := r.cluster(ctx, r.Client, summary)
	if err == nil && cluster == nil {
		// What follows forgets content: not because a cache is behind.
		cluster, err = r.cluster(ctx, r.Live, summary)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !summary.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, summary, cluster)
	}
	if cluster == nil {
		return reconcile.Result{}, nil
	}
	return r.reconcileNormal(ctx, summary, cluster)
}

// cluster reads the registration, which is nil if it is gone, or about to be: what is
// deployed stays as it is then, however long a finalizer keeps the object.
func (r *Reconciler) cluster(ctx context.Context, from client.Reader, summary *configv1beta1.ClusterSummary) (*libv1beta1.SveltosCluster, error) {
	cluster := &libv1beta1.SveltosCluster{}
	err := from.Get(ctx, types.NamespacedName{Namespace: summary.Spec.ClusterNamespace, Name: summary.Spec.ClusterName}, cluster)
	if apierrors.IsNotFound(err) || err == nil && !cluster.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading SveltosCluster %s/%s: %w", summary.Spec.ClusterNamespace, summary.Spec.ClusterName, err)
	}
	return cluster, nil
}

func (r *Reconciler) reconcileNormal(ctx context.Context, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(summary, configv1beta1.ClusterSummaryFinalizer) {
		// Before anything is deployed, so that nothing stays behind.
		return reconcile.Result{}, r.patchFinalizer(ctx, summary, controllerutil.AddFinalizer)
	}
	name := client.ObjectKeyFromObject(summary)
	print, err := fingerprint(summary, cluster)
	if err != nil {
		return reconcile.Result{}, err
	}
	elsewhere, err := r.elsewhere(ctx, summary, cluster)
	if err != nil {
		return reconcile.Result{}, err
	}
	f, err := r.flowOf(ctx, summary, cluster)
	if err != nil {
		return reconcile.Result{}, err
	}
	print = f.print(print)
	last, dirty := r.memory.last(name, summary.UID)
	verdict, retry := decide(situation{
		summary: summary, cluster: cluster, fingerprint: print, elsewhere: elsewhere, last: last, dirty: dirty,
		suspended: f.suspended.Paused(), now: r.Now(),
	})
	if verdict, err = r.hold(ctx, f, print, verdict, last); err != nil {
		return reconcile.Result{}, err
	}
	if verdict == verdictWork && !r.submit(ctx, clusterref.OfSummary(summary), name, print) {
		retry = queueRetry
	}
	if err := r.writeStatus(ctx, f, verdict, last); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: retry}, nil
}

// elsewhere reports whether what was deployed once is on another cluster, which
// answered under the same name before. Only OneTime asks: what is deployed again
// and again finds out by itself.
func (r *Reconciler) elsewhere(ctx context.Context, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (bool, error) {
	if !deployedOnce(summary) || !cluster.Status.Ready || cluster.Status.ClusterID == "" {
		return false, nil
	}
	owner, err := ownerOf(summary)
	if err != nil {
		return false, err
	}
	return r.Deployer.Elsewhere(ctx, clusterref.OfSummary(summary), cluster.UID, fleet.ClusterID(cluster.Status.ClusterID), owner.Key())
}

// reconcileDelete lets a summary go when nothing of it is left on the cluster,
// when the cluster's registration is gone, which leaves its content, or when
// somebody deleted it by hand: then it is made again.
func (r *Reconciler) reconcileDelete(ctx context.Context, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(summary, configv1beta1.ClusterSummaryFinalizer) {
		return reconcile.Result{}, nil
	}
	owner, err := ownerOf(summary)
	if err != nil {
		// Somebody took the owner away: whose content it was is not known here,
		// but the profile is, and makes the summary again.
		return reconcile.Result{}, r.patchFinalizer(ctx, summary, controllerutil.RemoveFinalizer)
	}
	if cluster == nil {
		r.memory.forgetSearch(clusterref.OfSummary(summary))
		r.forgetReload(clusterref.OfSummary(summary), owner.Key())
		r.untrack(client.ObjectKeyFromObject(summary))
		if err := r.forget(ctx, clusterref.OfSummary(summary), owner.Key()); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, r.patchFinalizer(ctx, summary, controllerutil.RemoveFinalizer)
	}
	withdrawal, err := r.isWithdrawal(ctx, summary)
	if err != nil {
		return reconcile.Result{}, err
	}
	last, dirty := r.memory.last(client.ObjectKeyFromObject(summary), summary.UID)
	f, err := r.flowOf(ctx, summary, cluster)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !withdrawal || (last != nil && last.withdrawn) {
		if withdrawal && !r.confirmWithdrawn(f) {
			return reconcile.Result{}, r.writeStatus(ctx, f, verdictBlocked, last)
		}
		return reconcile.Result{}, r.patchFinalizer(ctx, summary, controllerutil.RemoveFinalizer)
	}
	return r.keepWithdrawing(ctx, f, last, dirty)
}

// keepWithdrawing waits for an unreachable cluster to return, and otherwise
// tries until nothing is left, at once when something has changed.
func (r *Reconciler) keepWithdrawing(ctx context.Context, f *flow, last *outcome, dirty bool) (reconcile.Result, error) {
	var retry time.Duration
	summary, cluster := f.summary, f.cluster
	verdict := verdictWaitForCluster
	held, err := r.holdWithdrawal(ctx, f)
	if err != nil {
		return reconcile.Result{}, err
	}
	switch {
	case held:
		verdict = verdictBlocked
	case cluster.Status.Ready:
		verdict = verdictWork
		if last != nil && last.failed() && !dirty {
			retry = last.retryAt().Sub(r.Now())
		}
		if retry <= 0 {
			print, err := fingerprint(summary, cluster)
			if err != nil {
				return reconcile.Result{}, err
			}
			if retry, err = r.awaitHeirs(ctx, summary, cluster); err != nil {
				return reconcile.Result{}, err
			}
			if retry == 0 && !r.submit(ctx, clusterref.OfSummary(summary), client.ObjectKeyFromObject(summary), print) {
				retry = queueRetry
			}
		}
	}
	if err := r.writeStatus(ctx, f, verdict, last); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: retry}, nil
}

func (r *Reconciler) patchFinalizer(ctx context.Context, summary *configv1beta1.ClusterSummary, change func(client.Object, string) bool) error {
	changed := summary.DeepCopy()
	change(changed, configv1beta1.ClusterSummaryFinalizer)
	patch := client.MergeFromWithOptions(summary, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("changing the finalizers of ClusterSummary %s/%s: %w", summary.Namespace, summary.Name, err)
	}
	return nil
}

func (r *Reconciler) writeStatus(ctx context.Context, f *flow, v verdict, last *outcome) error {
	summary := f.summary
	status := desiredStatus(summary, f.cluster, v, last)
	f.amend(&status, v, last, r.Now())
	r.setDrift(&status, summary)
	if apiequality.Semantic.DeepEqual(summary.Status, status) {
		return nil
	}
	changed := summary.DeepCopy()
	changed.Status = status
	if err := r.Client.Status().Update(ctx, changed); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the status of ClusterSummary %s/%s: %w", summary.Namespace, summary.Name, err)
	}
	r.announce(changed, summary.Status.Conditions)
	r.announceFeatures(changed, &summary.Status)
	return nil
}

// announce tells in an event when a deployment has succeeded or failed.
func (r *Reconciler) announce(summary *configv1beta1.ClusterSummary, before []metav1.Condition) {
	ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
	was := meta.FindStatusCondition(before, configv1beta1.ConditionReady)
	if ready == nil || (was != nil && was.Status == ready.Status && was.Reason == ready.Reason && was.Message == ready.Message) {
		return
	}
	switch {
	case ready.Status == metav1.ConditionTrue:
		r.Events.Eventf(summary, nil, corev1.EventTypeNormal, ready.Reason, "Deploy", "Deployed to %s", clusterref.OfSummary(summary))
	case configv1beta1.IsFailure(ready.Reason):
		r.Events.Eventf(summary, nil, corev1.EventTypeWarning, ready.Reason, "Deploy", "%s", ready.Message)
	}
}

// SourceChanged makes the summaries due that a ConfigMap, Secret or source of Flux of the host
// is a source of, and wakes them.
func (r *Reconciler) SourceChanged(kind string, name types.NamespacedName) {
	r.HostObjects.Touch(WatchedSources()[kind], name)
	for _, summary := range r.memory.changed(sourceRef{kind: kind, NamespacedName: name}) {
		r.Trigger.Trigger(reconcile.Request{NamespacedName: summary})
	}
}

// WatchedSources are the resources of the host whose changes SourceChanged is told of, by
// their kinds.
func WatchedSources() map[string]schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{
		configv1beta1.SourceKindConfigMap: corev1.SchemeGroupVersion.WithResource("configmaps"),
		configv1beta1.SourceKindSecret:    corev1.SchemeGroupVersion.WithResource("secrets"),
	}
}
