// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// Whatever was said before, at most one of the two conditions is there, with what
// Ready says.
func TestSetLeavesOneConditionAtMost(t *testing.T) {
	for _, before := range []State{Settled, Working, Stuck} {
		for _, after := range []State{Settled, Working, Stuck} {
			var conditions []metav1.Condition
			meta.SetStatusCondition(&conditions, metav1.Condition{
				Type: libv1beta1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Why", Message: "because", ObservedGeneration: 3,
			})
			Set(&conditions, before, "")
			Set(&conditions, after, "")
			want := 1
			if after != Settled {
				want = 2
			}
			if Of(conditions) != after || len(conditions) != want {
				t.Errorf("from %d to %d: state %d in %v", before, after, Of(conditions), conditions)
			}
			if after == Settled {
				continue
			}
			if c := conditions[1]; c.Reason != "Why" || c.Message != "because" || c.ObservedGeneration != 3 {
				t.Errorf("from %d to %d: %v", before, after, c)
			}
		}
	}
}

func TestSetWithoutReadySaysNothing(t *testing.T) {
	conditions := []metav1.Condition{{Type: libv1beta1.ConditionStalled, Status: metav1.ConditionTrue}}
	Set(&conditions, Working, "busy")
	if len(conditions) != 0 {
		t.Errorf("conditions are %v", conditions)
	}
}

func TestSetSaysItsOwnMessage(t *testing.T) {
	conditions := []metav1.Condition{{Type: libv1beta1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Why", Message: "because"}}
	Set(&conditions, Working, "Helm waits")
	if c := meta.FindStatusCondition(conditions, libv1beta1.ConditionReconciling); c == nil || c.Message != "Helm waits" || c.Reason != "Why" {
		t.Errorf("conditions are %v", conditions)
	}
}
