// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sveltoscluster writes what the prober finds out about the registered
// clusters to their status.
package sveltoscluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/checks"
	"github.com/muster-project/muster/pkg/fleet/gather"
)

var secretKind = corev1.SchemeGroupVersion.WithKind("Secret")

// clusterIDIndex finds the registrations of one cluster.
const clusterIDIndex = "status.clusterID"

// Prober is the part of fleet.Prober that the reconciler drives.
type Prober interface {
	Set(fleet.Target)
	Remove(fleet.Ref)
	ProbeNow(fleet.Ref)
}

// Reconciler keeps the prober's targets equal to the registrations, and the
// registrations' status equal to the prober's findings.
type Reconciler struct {
	// Client reads SveltosClusters from a cache and writes through the gate; Live
	// reads them as they are.
	Client client.Client
	Live   client.Reader
	// Events go to the host cluster.
	Events events.EventRecorder
	// Forget drops the connections of a cluster that is gone or whose
	// registration changed.
	Forget func(fleet.Ref)
	// Prober probes what it is told to.
	Prober Prober
	// Scripts evaluate what the clusters' checks say.
	Scripts gather.Evaluator
	// Trigger wakes the reconciler when the prober has found something out.
	Trigger *trigger.Source[reconcile.Request]
	// Brake is told of every finding before it is written, so that it knows of a
	// mass failure before the first set can move because of it.
	Brake *Brake
	// ForgetInventories drops what is remembered of the content of a cluster
	// whose registration is gone, which leaves that content.
	ForgetInventories func(context.Context, fleet.Ref) error

	// Fences and Workers keep the fences against former leaders.
	Fences  Fences
	Workers Workers

	// Now is the clock of active windows, time.Now if nil.
	Now func() time.Time

	mu       sync.Mutex
	findings map[fleet.Ref]finding
	fences   map[fleet.Ref]fenceFinding
}

// finding is what the prober last reported of a registration.
type finding struct {
	uid    types.UID
	health fleet.Health
}

// Report takes a finding of the prober. It does not block.
func (r *Reconciler) Report(ref fleet.Ref, uid types.UID, health fleet.Health) {
	r.mu.Lock()
	if r.findings == nil {
		r.findings = map[fleet.Ref]finding{}
	}
	r.findings[ref] = finding{uid, health}
	r.mu.Unlock()
	r.Brake.Observe(ref, health)
	r.Trigger.Trigger(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}})
}

// Reconcile brings one registration and its probing in line.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	ref := clusterref.Of(request.Namespace, request.Name)
	cluster := &libv1beta1.SveltosCluster{}
	err := r.Client.Get(ctx, request.NamespacedName, cluster)
	if apierrors.IsNotFound(err) {
		// To stop is to forget what was deployed: not because a cache is behind.
		err = r.Live.Get(ctx, request.NamespacedName, cluster)
	}
	if apierrors.IsNotFound(err) || (err == nil && !cluster.DeletionTimestamp.IsZero()) {
		return reconcile.Result{}, r.stop(ctx, ref)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading SveltosCluster %s: %w", request, err)
	}
	r.Prober.Set(fleet.Target{
		Ref:              ref,
		UID:              cluster.UID,
		FailureThreshold: int(cluster.Spec.ConsecutiveFailureThreshold),
		Checks:           checks.New(r.Scripts, &cluster.Spec),
		Health:           healthOf(cluster),
	})
	observed := cluster.Status.ObservedGeneration
	changed := observed != 0 && observed != cluster.Generation
	if changed {
		// It may name another Secret now.
		r.Forget(ref)
		r.Prober.ProbeNow(ref)
	}
	again := soonest(r.keepFence(ctx, cluster, ref), r.untilWindow(cluster))
	switch health, known := r.lastHealth(ref, cluster.UID); {
	case known:
		err = r.write(ctx, cluster, health)
	case changed:
		// The prober tells of changes alone. Until there is one, the status would not say
		// that the spec was seen.
		err = r.write(ctx, cluster, healthOf(cluster))
	default:
		// Nothing has changed since a former term: there is the fence alone to tell of.
		err = r.writeStatus(ctx, cluster, *cluster.Status.DeepCopy())
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// stop ends everything that runs for a registration that is gone.
func (r *Reconciler) stop(ctx context.Context, ref fleet.Ref) error {
	r.Prober.Remove(ref)
	r.Forget(ref)
	r.Brake.Forget(ref)
	r.mu.Lock()
	delete(r.findings, ref)
	delete(r.fences, ref)
	r.mu.Unlock()
	return r.ForgetInventories(ctx, ref)
}

// lastHealth is what was last found out about a registration. A finding about a
// former one of the same name may arrive late.
func (r *Reconciler) lastHealth(ref fleet.Ref, uid types.UID) (fleet.Health, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.findings[ref]
	return last.health, last.uid == uid
}

// write brings the status, then the version label, to what health says; status
// first, since fail-over waits for it.
func (r *Reconciler) write(ctx context.Context, cluster *libv1beta1.SveltosCluster, health fleet.Health) error {
	duplicates, err := r.duplicates(ctx, cluster, health.ID)
	if err != nil {
		return err
	}
	if err := r.writeStatus(ctx, cluster, desiredStatus(cluster, health, duplicates)); err != nil {
		return err
	}
	label := versionLabel(health.Version)
	if label == "" || cluster.Labels[libv1beta1.LabelK8sVersion] == label {
		return nil
	}
	patch := client.MergeFrom(cluster.DeepCopy())
	if cluster.Labels == nil {
		cluster.Labels = map[string]string{}
	}
	cluster.Labels[libv1beta1.LabelK8sVersion] = label
	if err := r.Client.Patch(ctx, cluster, patch); err != nil {
		return fmt.Errorf("labelling SveltosCluster %s/%s with its version: %w", cluster.Namespace, cluster.Name, err)
	}
	return nil
}

// versionLabel is the label of a version, as in v1.37.0, empty for one that is none.
// Distributions add to theirs what no label can have, as in v1.37.0+k3s1.
func versionLabel(text string) string {
	parsed, err := version.ParseGeneric(text)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("v%d.%d.%d", parsed.Major(), parsed.Minor(), parsed.Patch())
}

// writeStatus writes a status, and what is known of the fence in it, if that is
// news.
func (r *Reconciler) writeStatus(ctx context.Context, cluster *libv1beta1.SveltosCluster, status libv1beta1.SveltosClusterStatus) error {
	setFenceCondition(&status, cluster, r.lastFence(clusterref.Of(cluster.Namespace, cluster.Name)))
	setPause(&status, cluster, r.now())
	if apiequality.Semantic.DeepEqual(cluster.Status, status) {
		return nil
	}
	before := cluster.DeepCopy()
	cluster.Status = status
	if err := r.Client.Status().Update(ctx, cluster); err != nil {
		return fmt.Errorf("writing the status of SveltosCluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	r.announce(ctx, before, cluster)
	return nil
}

// duplicates names the other registrations of the cluster that answers. They
// are woken by onIdentity.
func (r *Reconciler) duplicates(ctx context.Context, cluster *libv1beta1.SveltosCluster, id fleet.ClusterID) ([]string, error) {
	others, err := r.registrationsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range others {
		if others[i].UID != cluster.UID {
			names = append(names, others[i].Namespace+"/"+others[i].Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// registrationsOf are all that have last been answered by this cluster.
func (r *Reconciler) registrationsOf(ctx context.Context, id fleet.ClusterID) ([]libv1beta1.SveltosCluster, error) {
	if id == "" {
		return nil, nil
	}
	list := &libv1beta1.SveltosClusterList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{clusterIDIndex: string(id)}); err != nil {
		return nil, fmt.Errorf("looking for the registrations of cluster %s: %w", id, err)
	}
	return list.Items, nil
}

// announce tells of what changed where people look: in events, and in the log.
func (r *Reconciler) announce(ctx context.Context, before, after *libv1beta1.SveltosCluster) {
	logger := klog.FromContext(ctx)
	if before.Status.Ready != after.Status.Ready {
		logger.Info("Cluster readiness changed", "ready", after.Status.Ready, "failures", after.Status.ConnectionFailures)
	}
	for _, condition := range after.Status.Conditions {
		was := meta.FindStatusCondition(before.Status.Conditions, condition.Type)
		if was != nil && was.Status == condition.Status {
			continue
		}
		if eventType, reason := eventOf(condition.Type, string(condition.Status)); reason != "" {
			note := condition.Message
			if note == "" {
				note = "Kubernetes " + after.Status.Version
			}
			r.Events.Eventf(after, nil, eventType, reason, "Probe", "%s", note)
		}
	}
}

// eventOf is the event that tells of a condition's new status; none where
// nobody has to know.
func eventOf(condition, status string) (eventType, reason string) {
	switch condition + "=" + status {
	case libv1beta1.ConditionReady + "=True":
		return corev1.EventTypeNormal, "ClusterReady"
	case libv1beta1.ConditionReady + "=False":
		return corev1.EventTypeWarning, "ClusterNotReady"
	case libv1beta1.ConditionCredentialsValid + "=False":
		return corev1.EventTypeWarning, "CredentialsInvalid"
	case libv1beta1.ConditionChecksPassed + "=False":
		return corev1.EventTypeWarning, "ClusterCheckFailed"
	case libv1beta1.ConditionDuplicateRegistration + "=True":
		return corev1.EventTypeWarning, "DuplicateRegistration"
	case libv1beta1.ConditionIdentityChanged + "=True":
		return corev1.EventTypeWarning, "IdentityChanged"
	case libv1beta1.ConditionPaused + "=True":
		return corev1.EventTypeNormal, "ClusterPaused"
	case libv1beta1.ConditionFenced + "=True":
		return corev1.EventTypeNormal, "Fenced"
	case libv1beta1.ConditionFenced + "=False":
		return corev1.EventTypeWarning, "FenceFailed"
	}
	return "", ""
}
