// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package progress writes conditions Reconciling and Stalled beside Ready, in the
// sense of kstatus: neither is there when all is as it should be, Reconciling
// while it is about to be, Stalled where a person has to do something first.
package progress

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// State says whether something goes on.
type State int

const (
	// Settled: there is nothing to do, or nothing that Muster may do.
	Settled State = iota
	// Working: it goes on by itself.
	Working
	// Stuck: it goes on when a person has done something.
	Stuck
)

// Set makes the conditions say state. Their reason, and their message unless one
// is given, are those of Ready, which has to be set before.
func Set(conditions *[]metav1.Condition, state State, message string) {
	ready := meta.FindStatusCondition(*conditions, libv1beta1.ConditionReady)
	for conditionType, when := range map[string]State{libv1beta1.ConditionReconciling: Working, libv1beta1.ConditionStalled: Stuck} {
		if ready == nil || state != when {
			meta.RemoveStatusCondition(conditions, conditionType)
		}
	}
	if ready == nil || state == Settled {
		return
	}
	condition := metav1.Condition{
		Type: libv1beta1.ConditionReconciling, Status: metav1.ConditionTrue,
		ObservedGeneration: ready.ObservedGeneration, Reason: ready.Reason, Message: ready.Message,
	}
	if state == Stuck {
		condition.Type = libv1beta1.ConditionStalled
	}
	if message != "" {
		condition.Message = message
	}
	meta.SetStatusCondition(conditions, condition)
}

// Of is the state that conditions say.
func Of(conditions []metav1.Condition) State {
	switch {
	case meta.IsStatusConditionTrue(conditions, libv1beta1.ConditionStalled):
		return Stuck
	case meta.IsStatusConditionTrue(conditions, libv1beta1.ConditionReconciling):
		return Working
	}
	return Settled
}
