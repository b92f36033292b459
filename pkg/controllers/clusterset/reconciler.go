// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/selection"
)

// Index computes selections. *selection.Index does.
type Index interface {
	Result(selection.SetKey) (selection.Result, error)
}

// Reconciler writes what the index computes to the status of sets.
type Reconciler struct {
	// Live reads sets from the store and not from a cache.
	Live client.Reader
	// Status writes the status of sets through the gate.
	Status client.StatusWriter
	Index  Index
	// WaitCurrent returns when the index has reached the store's current
	// revision.
	WaitCurrent func(context.Context) (int64, error)
	// Halted is the brake.
	Halted func() bool
	// Evidence tells who is well from who only looks so still.
	Evidence Evidence
	// Events go to the host cluster.
	Events events.EventRecorder
}

// Reconcile stores the selection of one set.
func (r *Reconciler) Reconcile(ctx context.Context, key selection.SetKey) (reconcile.Result, error) {
	s, err := get(ctx, r.Live, key)
	if apierrors.IsNotFound(err) || (err == nil && !s.GetDeletionTimestamp().IsZero()) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading %s: %w", key, err)
	}
	before := s.status.DeepCopy()
	// The brake is persisted before anything is computed with it, so that every
	// replica computes the same; the write wakes this reconciler again.
	if condition := brakeCondition(s, r.Halted()); condition != nil {
		if meta.SetStatusCondition(&s.status.Conditions, *condition) && isHalted(before) != isHalted(s.status) {
			return reconcile.Result{}, r.write(ctx, key, s, before)
		}
	}
	// The set was read first. The index is at least as new, and the write below
	// fails if the set has changed since: together they make sure that what is
	// stored was computed from the very selection that it replaces.
	if _, err := r.WaitCurrent(ctx); err != nil {
		return reconcile.Result{}, fmt.Errorf("waiting for the index: %w", err)
	}
	result, err := r.Index.Result(key)
	if errors.Is(err, selection.ErrUnknownSet) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("computing the selection of %s: %w", key, err)
	}
	if pause := r.postpone(s.status.SelectedClusterRefs, result); pause > 0 {
		return reconcile.Result{RequeueAfter: pause}, nil
	}
	*s.status = withResult(s, result)
	if apiequality.Semantic.DeepEqual(before, s.status) {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.write(ctx, key, s, before)
}

func (r *Reconciler) write(ctx context.Context, key selection.SetKey, s set, before *libv1beta1.ClusterSetStatus) error {
	err := r.Status.Update(ctx, s.Object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing the status of %s: %w", key, err)
	}
	r.announce(ctx, s, before)
	return nil
}

func (r *Reconciler) announce(ctx context.Context, s set, before *libv1beta1.ClusterSetStatus) {
	if !apiequality.Semantic.DeepEqual(before.SelectedClusterRefs, s.status.SelectedClusterRefs) {
		klog.FromContext(ctx).Info("Selection changed", "from", names(before.SelectedClusterRefs), "to", names(s.status.SelectedClusterRefs))
		r.Events.Eventf(s.Object, nil, corev1.EventTypeNormal, "SelectionChanged", "Select",
			"%d clusters selected: %s", len(s.status.SelectedClusterRefs), names(s.status.SelectedClusterRefs))
	}
	if isHalted(before) == isHalted(s.status) {
		return
	}
	if condition := meta.FindStatusCondition(s.status.Conditions, libv1beta1.ConditionFailoverHalted); isHalted(s.status) {
		r.Events.Eventf(s.Object, nil, corev1.EventTypeWarning, condition.Reason, "Halt", "%s", condition.Message)
		return
	}
	r.Events.Eventf(s.Object, nil, corev1.EventTypeNormal, "FailoverResumed", "Resume", "Clusters are moved again.")
}

// maxNamed bounds how many clusters an event or a log line names.
const maxNamed = 5

// names are the first clusters of a list, for people.
func names(refs []corev1.ObjectReference) []string {
	named := make([]string, 0, min(len(refs), maxNamed)+1)
	for i, ref := range refs {
		if i == maxNamed {
			return append(named, fmt.Sprintf("and %d more", len(refs)-maxNamed))
		}
		named = append(named, ref.Namespace+"/"+ref.Name)
	}
	return named
}
