// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/fence"
)

// fenceRetry is how long after a failure a fence is raised or removed again.
const fenceRetry = 30 * time.Second

// Fences raises and removes the fences of clusters, as fleet.Clusters does.
type Fences interface {
	Fence(context.Context, fleet.Ref) error
	Unfence(context.Context, fleet.Ref) error
}

// Workers do what would wait for a cluster, as fleet.Workers do.
type Workers interface {
	Submit(ref fleet.Ref, key string, job func(context.Context)) bool
}

// fenceFinding is how the last attempt ended to raise a cluster's fence, or to
// remove it.
type fenceFinding struct {
	wanted bool
	err    error
	ended  time.Time
}

// Fenced says whether a registration asks for a fence.
func Fenced(cluster *libv1beta1.SveltosCluster) bool {
	return cluster.Annotations[libv1beta1.AnnotationFence] == "true"
}

// Fenced says whether a cluster's registration asks for a fence.
func (c *Credentials) Fenced(ctx context.Context, ref fleet.Ref) (bool, error) {
	cluster := &libv1beta1.SveltosCluster{}
	if err := c.Clusters.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, cluster); err != nil {
		return false, fmt.Errorf("reading the registration of %s: %w", ref, err)
	}
	return Fenced(cluster), nil
}

// ReportFence takes what became of a cluster's fence when somebody was about to
// write there. It does not block.
func (r *Reconciler) ReportFence(ref fleet.Ref, err error) {
	r.noteFence(ref, fenceFinding{wanted: true, err: err, ended: time.Now()})
}

func (r *Reconciler) noteFence(ref fleet.Ref, found fenceFinding) {
	r.mu.Lock()
	last, known := r.fences[ref]
	if r.fences == nil {
		r.fences = map[fleet.Ref]fenceFinding{}
	}
	r.fences[ref] = found
	r.mu.Unlock()
	if !known || last.wanted != found.wanted || !sameError(last.err, found.err) {
		r.Trigger.Trigger(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}})
	}
}

func sameError(a, b error) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error())
}

// lastFence is how the last attempt in this term ended, nil before the first.
func (r *Reconciler) lastFence(ref fleet.Ref) *fenceFinding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, known := r.fences[ref]; known {
		return &last
	}
	return nil
}

// keepFence has the cluster's worker raise the fence, once in each term and
// before anything is deployed, or remove it. It returns after which time to look
// again, zero if only a change makes that necessary.
func (r *Reconciler) keepFence(ctx context.Context, cluster *libv1beta1.SveltosCluster, ref fleet.Ref) time.Duration {
	wanted := Fenced(cluster)
	if !wanted && meta.FindStatusCondition(cluster.Status.Conditions, libv1beta1.ConditionFenced) == nil {
		return 0
	}
	last := r.lastFence(ref)
	if !cluster.Status.Ready || last != nil && last.wanted == wanted && last.err == nil {
		return 0
	}
	if last != nil && last.wanted == wanted {
		if wait := fenceRetry - time.Since(last.ended); wait > 0 {
			return wait
		}
	}
	if !r.Workers.Submit(ref, "fence", func(ctx context.Context) { r.workFence(ctx, ref, wanted) }) {
		klog.FromContext(ctx).Info("The cluster's queue is full, its fence waits", "cluster", ref)
	}
	return fenceRetry
}

// workFence does what keepFence decided on. A term that ends meanwhile has found
// out nothing.
func (r *Reconciler) workFence(ctx context.Context, ref fleet.Ref, wanted bool) {
	change := r.Fences.Fence
	if !wanted {
		change = r.Fences.Unfence
	}
	err := change(ctx, ref)
	if ctx.Err() == nil {
		r.noteFence(ref, fenceFinding{wanted: wanted, err: err, ended: time.Now()})
	}
}

// setFenceCondition says in status what was last found out about the fence. The
// condition is there from the time that a fence is asked for until it was removed,
// so that the next term knows that there may be one.
func setFenceCondition(status *libv1beta1.SveltosClusterStatus, cluster *libv1beta1.SveltosCluster, last *fenceFinding) {
	wanted := Fenced(cluster)
	existing := meta.FindStatusCondition(status.Conditions, libv1beta1.ConditionFenced)
	if last != nil && last.wanted != wanted {
		last = nil // it is out of date
	}
	condition := metav1.Condition{Type: libv1beta1.ConditionFenced, ObservedGeneration: cluster.Generation}
	switch {
	case last == nil && (existing != nil || !wanted):
		return
	case last == nil:
		condition.Status, condition.Reason = metav1.ConditionUnknown, libv1beta1.ReasonFenceNotRaised
		condition.Message = "The fence is raised when the cluster is ready."
	case wanted && last.err == nil:
		condition.Status, condition.Reason = metav1.ConditionTrue, libv1beta1.ReasonFenceStands
		condition.Message = "The cluster denies the writes of former leaders."
	case wanted:
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, fenceReason(last.err), last.err.Error()
	case last.err == nil:
		meta.RemoveStatusCondition(&status.Conditions, libv1beta1.ConditionFenced)
		return
	default:
		condition.Status, condition.Reason = metav1.ConditionFalse, libv1beta1.ReasonFenceNotRemoved
		condition.Message = "No fence is asked for, and writes do not wait for one; but it could not be removed: " + last.err.Error()
	}
	meta.SetStatusCondition(&status.Conditions, condition)
}

func fenceReason(err error) string {
	switch {
	case errors.Is(err, fence.ErrNotServed), errors.Is(err, fence.ErrNotObeyed):
		return libv1beta1.ReasonFenceNotSupported
	case errors.Is(err, fence.ErrForeign), errors.Is(err, fence.ErrLater):
		return libv1beta1.ReasonFenceOfAnother
	case apierrors.IsForbidden(err):
		return libv1beta1.ReasonFenceForbidden
	}
	return libv1beta1.ReasonFenceFailed
}
