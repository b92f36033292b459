// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/health"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
)

// submit hands the summary's work to the cluster's own worker, whose end wakes
// the reconciler. What the worker does is decided when it begins, from what is
// stored then. It returns false if the worker does not take any more: nothing
// wakes the reconciler then.
func (r *Reconciler) submit(ctx context.Context, ref fleet.Ref, name types.NamespacedName, fingerprint string) bool {
	if !r.memory.activate(name, fingerprint) {
		return true
	}
	accepted := r.Workers.Submit(ref, name.String(), func(ctx context.Context) {
		// Also after a panic, which the worker survives.
		defer r.Trigger.Trigger(reconcile.Request{NamespacedName: name})
		defer r.memory.deactivate(name)
		r.work(ctx, name)
	})
	if !accepted {
		r.memory.deactivate(name)
		klog.FromContext(ctx).Info("The cluster's queue is full, the summary waits", "cluster", ref)
	}
	return accepted
}

// work makes one pass for a summary, and remembers how it ended.
func (r *Reconciler) work(ctx context.Context, name types.NamespacedName) {
	summary := &configv1beta1.ClusterSummary{}
	var cluster *libv1beta1.SveltosCluster
	err := r.Client.Get(ctx, name, summary)
	if err == nil {
		cluster, err = r.cluster(ctx, r.Client, summary)
	}
	if apierrors.IsNotFound(err) || err == nil && cluster == nil {
		return
	}
	o := outcome{uid: summary.UID, changed: r.memory.begin(name)}
	if err == nil {
		o.fingerprint, err = fingerprint(summary, cluster)
	}
	if err == nil {
		err = r.pass(ctx, name, summary, cluster, &o)
		err = errors.Join(err, r.forgetGone(ctx, summary, cluster))
	}
	if errors.Is(err, errHeld) {
		r.memory.due(name)
		return
	}
	o.err = err
	o.ended = r.Now()
	r.memory.countFailures(name, summary, &o)
	o.validated = r.staysValidated(name, summary, o)
	r.memory.end(name, o)
	r.wakePredecessor(ctx, summary)
	if o.failed() {
		klog.FromContext(ctx).Info("Deployment did not end well", "summary", name, "error", errors.Join(o.err, resultError(o.result)))
	}
}

// forgetGone drops the inventory of a pass whose cluster was deregistered
// meanwhile. All inventories of the cluster were dropped then; this one may have
// been written afterwards, and nobody else would ever look at it.
func (r *Reconciler) forgetGone(ctx context.Context, summary *configv1beta1.ClusterSummary, was *libv1beta1.SveltosCluster) error {
	is, err := r.cluster(ctx, r.Client, summary)
	if err == nil && is == nil {
		is, err = r.cluster(ctx, r.Live, summary)
	}
	if err != nil || (is != nil && is.UID == was.UID) {
		return err
	}
	owner, err := ownerOf(summary)
	if err != nil {
		return err
	}
	return r.forget(ctx, clusterref.OfSummary(summary), owner.Key())
}

// pass deploys or withdraws, as the summary asks for.
func (r *Reconciler) pass(ctx context.Context, name types.NamespacedName, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster, o *outcome) error {
	withdraw, err := r.isWithdrawal(ctx, summary)
	if err != nil {
		return err
	}
	if !withdraw && !summary.DeletionTimestamp.IsZero() {
		return nil
	}
	f, err := r.flowOf(ctx, summary, cluster)
	if err != nil {
		return err
	}
	o.fingerprint = f.print(o.fingerprint)
	blocked, err := r.mayBegin(ctx, f, o.fingerprint, withdraw)
	if err != nil {
		return err
	}
	target, err := r.connect(ctx, cluster)
	if err != nil {
		return err
	}
	owner, err := ownerOf(summary)
	if err != nil {
		return err
	}
	of, err := r.Revisions.Get(ctx, summary.Spec.ProfileRevision)
	var behavior deploy.Behavior
	if withdraw {
		behavior, err = behaviorOf(summary, of, err)
	}
	if err != nil {
		return err
	}
	if r.Strays {
		r.adoptStrays(ctx, target, owner.Key())
	}
	actor, err := r.actAs(ctx, name, target, identityOf(summary))
	if err != nil {
		return err
	}
	if withdraw {
		r.untrack(name)
		r.forgetReload(target.Ref, owner.Key())
	}
	if !isDryRun(of) {
		if err := r.forgetReport(ctx, summary, owner.Key()); err != nil {
			return err
		}
	}
	switch {
	case !withdraw:
		return r.deployRevision(ctx, f, actor, owner, of, blocked, o)
	case isDryRun(of):
		return r.tryWithdrawal(ctx, actor, owner, behavior, o)
	}
	if err := r.awaitSuccessors(ctx, summary, owner.Key()); err != nil {
		return err
	}
	return r.withdraw(ctx, actor, owner, behavior, o)
}

// deployRevision renders what a revision wants on a cluster, and brings it there, or says
// what that would change. Lists of which a check has failed are kept back.
func (r *Reconciler) deployRevision(ctx context.Context, f *flow, actor actor, owner inventory.Owner, of revision.Revision, blocked []health.Failure, o *outcome) error {
	name := client.ObjectKeyFromObject(f.summary)
	data, err := templateData(f.cluster)
	if err != nil {
		return err
	}
	b := r.builder(f.cluster, actor, owner, data)
	b.hostObjects, b.reader, b.observed = r.HostObjects, name, r.observe(of)
	b.reads = func(s sourceRef) {
		r.memory.reads(name, s)
		r.flux.want(s.kind)
	}
	owner.Tier = of.Spec.Tier
	request := b.request(ctx, owner, f.summary.Name, of.Name, of.Spec)
	o.refresh = b.due
	request.Era, request.Retrigger, request.Rollback = r.Era, f.retrigger, of.Pinned != nil
	block(&request, b.local, blocked)
	if isDryRun(of) {
		r.untrack(name)
		r.forgetReload(actor.target.Ref, owner.Key())
		return r.tryOut(ctx, actor, b, request, o)
	}
	request.Watch = r.watch(name, of.Spec.SyncMode)
	work, err := r.deploy(ctx, actor, name, request, b.local, o)
	if err != nil {
		return err
	}
	o.result = b.masked(o.result)
	r.track(f.summary, actor, request.Watch, work, o.parts)
	r.record(ctx, actor.target.Ref, owner, of, b.observed, o.result)
	r.reload(actor, owner.Key(), of.Spec, o.parts.remote)
	return nil
}

// builder renders what a profile wants on a cluster, with the rights of an actor. It reads
// objects for templates once, and tells nobody what it reads.
func (r *Reconciler) builder(cluster *libv1beta1.SveltosCluster, actor actor, owner inventory.Owner, data map[string]any) *requestBuilder {
	return &requestBuilder{
		host: actor.reader, renderer: r.Renderer, kustomizations: r.Kustomizations, fetcher: r.Fetcher, now: r.Now, data: data, namespace: cluster.Namespace, tenant: owner.Namespace,
		artifacts: r.artifacts, reads: func(sourceRef) {}, hostObjects: hostobjects.Once{Store: r.HostObjects}, asTenant: !actor.as.IsZero(),
	}
}

// connect finds the way to a cluster, and who answers there.
func (r *Reconciler) connect(ctx context.Context, cluster *libv1beta1.SveltosCluster) (deploy.Cluster, error) {
	ref := clusterref.Of(cluster.Namespace, cluster.Name)
	connection, err := r.Clusters.Client(ctx, ref, fleet.Identity{})
	if err != nil {
		return deploy.Cluster{}, fmt.Errorf("connecting to %s: %w", ref, err)
	}
	// Before anything is read that is decided on: no former leader changes it then.
	if err := connection.Fence(ctx); err != nil {
		return deploy.Cluster{}, fmt.Errorf("fencing %s: %w", ref, err)
	}
	id, err := connection.ClusterID(ctx)
	if err != nil {
		return deploy.Cluster{}, fmt.Errorf("asking %s who it is: %w", ref, err)
	}
	return deploy.ClusterOf(connection, cluster.UID, id), nil
}

// wake makes other profiles' summaries due: something was taken over from them,
// or let go to them. Nothing else would tell them, so that they are looked up in
// the cache, which answers also while etcd does not.
func (r *Reconciler) wake(ctx context.Context, cluster fleet.Ref, owners []inventory.OwnerKey) {
	if len(owners) == 0 {
		return
	}
	if cluster == inventory.Host() {
		r.wakeLocal(ctx, owners)
		return
	}
	summaries, err := r.summariesOf(ctx, cluster)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Waking the profiles that something was taken over from, or let go to", "cluster", cluster, "profiles", owners)
		return
	}
	for i := range summaries {
		owner, err := ownerOf(&summaries[i])
		if err != nil || !slices.Contains(owners, owner.Key()) {
			continue
		}
		name := client.ObjectKeyFromObject(&summaries[i])
		r.memory.due(name)
		r.Trigger.Trigger(reconcile.Request{NamespacedName: name})
	}
}

// summariesOf reads the summaries of a cluster from the cache.
func (r *Reconciler) summariesOf(ctx context.Context, cluster fleet.Ref) ([]configv1beta1.ClusterSummary, error) {
	summaries := &configv1beta1.ClusterSummaryList{}
	err := r.Client.List(ctx, summaries, client.InNamespace(cluster.Namespace), client.MatchingFields{clusterIndex: cluster.String()})
	if err != nil {
		return nil, fmt.Errorf("looking for the ClusterSummaries of %s: %w", cluster, err)
	}
	return summaries.Items, nil
}

// ownerOf is the profile that a summary belongs to.
func ownerOf(summary *configv1beta1.ClusterSummary) (inventory.Owner, error) {
	controller := metav1.GetControllerOf(summary)
	if controller == nil {
		return inventory.Owner{}, fmt.Errorf("ClusterSummary %s/%s has no owner", summary.Namespace, summary.Name)
	}
	owner := inventory.Owner{Kind: controller.Kind, Name: controller.Name}
	if owner.Kind == configv1beta1.KindProfile {
		owner.Namespace = summary.Namespace
	}
	return owner, nil
}

// resultError joins what went wrong in a pass.
func resultError(result deploy.Result) error {
	failed := []error{result.Err}
	var waiting []error
	for _, feature := range []deploy.Feature{deploy.Resources, deploy.Helm, deploy.Kustomize} {
		if err := result.Features[feature].Err; onlyWaits(err) {
			waiting = append(waiting, err)
		} else {
			failed = append(failed, err)
		}
	}
	// What waits for another list says less than what is wrong with that one.
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return errors.Join(waiting...)
}
