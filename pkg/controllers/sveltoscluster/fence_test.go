// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/fence"
)

// fences notes what was asked for, and answers with err.
type fences struct {
	asked []string
	err   error
}

func (f *fences) Fence(context.Context, fleet.Ref) error {
	f.asked = append(f.asked, "raise")
	return f.err
}

func (f *fences) Unfence(context.Context, fleet.Ref) error {
	f.asked = append(f.asked, "remove")
	return f.err
}

// Submit runs the job.
func (f *fences) Submit(_ fleet.Ref, _ string, job func(context.Context)) bool {
	job(context.Background())
	return true
}

func TestAFenceIsKept(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "validatingadmissionpolicies"}, fence.Name, errors.New("no"))
	for _, test := range []struct {
		name       string
		annotation string
		before     string // the condition's status that an earlier term has left
		unready    bool
		err        error
		asked      string
		condition  string
		again      bool // it is looked at again by itself
	}{
		{name: "nobody asks for one", asked: "[]", condition: "absent"},
		{name: "switched off", annotation: "false", asked: "[]", condition: "absent"},
		{name: "raised", annotation: "true", asked: "[raise]", condition: "True/FenceStands"},
		{name: "raised again in each term", annotation: "true", before: "True", asked: "[raise]", condition: "True/FenceStands"},
		{name: "not ready", annotation: "true", unready: true, asked: "[]", condition: "Unknown/NotRaised"},
		{name: "not ready, raised before", annotation: "true", before: "True", unready: true, asked: "[]", condition: "True/Before"},
		{name: "no rights", annotation: "true", err: fmt.Errorf("raise: %w", forbidden), asked: "[raise]", condition: "False/Forbidden", again: true},
		{name: "too old", annotation: "true", err: fence.ErrNotServed, asked: "[raise]", condition: "False/NotSupported", again: true},
		{name: "not obeyed", annotation: "true", err: fence.ErrNotObeyed, asked: "[raise]", condition: "False/NotSupported", again: true},
		{name: "of another", annotation: "true", err: fence.ErrForeign, asked: "[raise]", condition: "False/OfAnother", again: true},
		{name: "of a later leader", annotation: "true", err: fence.ErrLater, asked: "[raise]", condition: "False/OfAnother", again: true},
		{name: "cut off", annotation: "true", err: errors.New("cut off"), asked: "[raise]", condition: "False/Failed", again: true},
		{name: "removed", before: "True", asked: "[remove]", condition: "absent"},
		{name: "removed where it never stood", before: "False", annotation: "false", asked: "[remove]", condition: "absent"},
		{name: "not removed", before: "True", err: errors.New("cut off"), asked: "[remove]", condition: "False/NotRemoved", again: true},
		{name: "not to be removed yet", before: "True", unready: true, asked: "[]", condition: "True/Before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fences{err: test.err}
				r := &Reconciler{Fences: f, Workers: f, Trigger: trigger.New[reconcile.Request]()}
				cluster := registration()
				cluster.Status.Ready = !test.unready
				if test.annotation != "" {
					cluster.Annotations = map[string]string{libv1beta1.AnnotationFence: test.annotation}
				}
				if test.before != "" {
					cluster.Status.Conditions = []metav1.Condition{{
						Type: libv1beta1.ConditionFenced, Status: metav1.ConditionStatus(test.before), Reason: "Before",
					}}
				}
				ref := clusterref.Of(cluster.Namespace, cluster.Name)
				r.keepFence(t.Context(), cluster, ref)
				wait := r.keepFence(t.Context(), cluster, ref)
				status := *cluster.Status.DeepCopy()
				setFenceCondition(&status, cluster, r.lastFence(ref))
				if got := fmt.Sprint(f.asked); got != test.asked {
					t.Errorf("asked for %s, want %s", got, test.asked)
				}
				if got := conditionString(status, libv1beta1.ConditionFenced); got != test.condition {
					t.Errorf("condition %s, want %s", got, test.condition)
				}
				if (wait > 0) != test.again {
					t.Errorf("looks again after %s, want so: %t", wait, test.again)
				}
			})
		})
	}
}

// TestAFailedWriteShowsInTheCondition: what a write found out is not asked
// again, and what is out of date says nothing.
func TestAFailedWriteShowsInTheCondition(t *testing.T) {
	r := &Reconciler{Trigger: trigger.New[reconcile.Request]()}
	cluster := registration()
	cluster.Annotations = map[string]string{libv1beta1.AnnotationFence: "true"}
	ref := clusterref.Of(cluster.Namespace, cluster.Name)
	r.ReportFence(ref, fence.ErrNotObeyed)
	setFenceCondition(&cluster.Status, cluster, r.lastFence(ref))
	if got := conditionString(cluster.Status, libv1beta1.ConditionFenced); got != "False/NotSupported" {
		t.Errorf("condition %s", got)
	}
	cluster.Annotations = nil
	setFenceCondition(&cluster.Status, cluster, r.lastFence(ref))
	if got := conditionString(cluster.Status, libv1beta1.ConditionFenced); got != "False/NotSupported" {
		t.Errorf("before it is removed the condition is %s", got)
	}
	r.noteFence(ref, fenceFinding{})
	setFenceCondition(&cluster.Status, cluster, r.lastFence(ref))
	if got := conditionString(cluster.Status, libv1beta1.ConditionFenced); got != "absent" {
		t.Errorf("when it is removed the condition is %s", got)
	}
}
