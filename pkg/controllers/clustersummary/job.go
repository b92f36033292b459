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
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
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
	cluster := &libv1beta1.SveltosCluster{}
	err := r.Client.Get(ctx, name, summary)
	if err == nil {
		err = r.Client.Get(ctx, types.NamespacedName{Namespace: summary.Spec.ClusterNamespace, Name: summary.Spec.ClusterName}, cluster)
	}
	if apierrors.IsNotFound(err) {
		return
	}
	r.memory.begin(name)
	o := outcome{uid: summary.UID}
	if err == nil {
		o.fingerprint, err = fingerprint(summary, cluster)
	}
	if err == nil {
		err = r.pass(ctx, name, summary, cluster, &o)
		err = errors.Join(err, r.forgetGone(ctx, summary, cluster))
	}
	o.err = err
	o.ended = r.Now()
	r.memory.end(name, o)
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
	return r.Deployer.Forget(ctx, clusterref.OfSummary(summary), owner.Key())
}

// pass deploys or withdraws, as the summary asks for.
func (r *Reconciler) pass(ctx context.Context, name types.NamespacedName, summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster, o *outcome) error {
	withdraw, err := r.isWithdrawal(ctx, summary)
	if err != nil {
		return err
	}
	if !withdraw && (!summary.DeletionTimestamp.IsZero() || cluster.Spec.Paused) {
		return nil
	}
	target, err := r.connect(ctx, cluster)
	if err != nil {
		return err
	}
	owner, err := ownerOf(summary)
	if err != nil {
		return err
	}
	revision, err := r.Revisions.Get(ctx, summary.Spec.ProfileRevision)
	var behavior deploy.Behavior
	if withdraw {
		behavior, err = behaviorOf(summary, revision, err)
	}
	if err != nil {
		return err
	}
	if r.Strays {
		r.adoptStrays(ctx, target, owner.Key())
	}
	if withdraw {
		return r.withdraw(ctx, target, owner, behavior, o)
	}
	data, err := templateData(cluster)
	if err != nil {
		return err
	}
	b := &requestBuilder{
		host: r.Host, renderer: r.Renderer, kustomizations: r.Kustomizations, fetcher: r.Fetcher, now: r.Now, data: data, namespace: cluster.Namespace, tenant: owner.Namespace,
		reads: func(s sourceRef) { r.memory.reads(name, s) },
	}
	b.observed = r.observe(revision)
	owner.Tier = revision.Spec.Tier
	request := b.request(ctx, owner, summary.Name, revision.Name, revision.Spec)
	o.refresh = b.due
	request.Era, request.Rollback = r.Era, revision.Pinned != nil
	o.result = r.Deployer.Deploy(ctx, target, request)
	r.record(ctx, target.Ref, owner, revision, b.observed, o.result)
	r.wake(ctx, target.Ref, o.result.Requeue)
	return nil
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
	for _, feature := range []deploy.Feature{deploy.Resources, deploy.Helm, deploy.Kustomize} {
		failed = append(failed, result.Features[feature].Err)
	}
	return errors.Join(failed...)
}
