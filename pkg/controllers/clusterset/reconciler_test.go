// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/selection"
)

// decided is an index in which nothing changes.
type decided struct{ result selection.Result }

func (d decided) Result(selection.SetKey) (selection.Result, error) { return d.result, nil }

var key = selection.SetKey{Kind: libv1beta1.KindClusterSet, Name: "prod"}

func newReconciler(t *testing.T, halted *bool, set *libv1beta1.ClusterSet) (r *Reconciler, writes *int) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := libv1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	stored := fake.NewClientBuilder().WithScheme(scheme).WithObjects(set).WithStatusSubresource(set).Build()
	writes = new(int)
	return &Reconciler{
		Live: stored, Status: counting{stored.Status(), writes}, Index: decided{},
		WaitCurrent: func(context.Context) (int64, error) { return 1, nil },
		Halted:      func() bool { return *halted },
		Events:      events.NewFakeRecorder(100),
	}, writes
}

type counting struct {
	client.StatusWriter
	writes *int
}

func (c counting) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	*c.writes++
	return c.StatusWriter.Update(ctx, object, options...)
}

// settle reconciles as often as writes of the set would wake it.
func settle(t *testing.T, r *Reconciler) *metav1.Condition {
	t.Helper()
	for range 3 {
		if _, err := r.Reconcile(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	s, err := get(t.Context(), r.Live, key)
	if err != nil {
		t.Fatal(err)
	}
	return meta.FindStatusCondition(s.status.Conditions, libv1beta1.ConditionFailoverHalted)
}

func TestTheBrakeIsPersisted(t *testing.T) {
	for _, tc := range []struct {
		name        string
		annotations map[string]string
		status      metav1.ConditionStatus
		reason      string
	}{
		{"obeyed", nil, metav1.ConditionTrue, libv1beta1.ReasonManyClustersDown},
		{"ignored", map[string]string{libv1beta1.AnnotationIgnoreBrake: "true"}, metav1.ConditionFalse, libv1beta1.ReasonBrakeIgnored},
	} {
		t.Run(tc.name, func(t *testing.T) {
			halted := false
			r, writes := newReconciler(t, &halted, &libv1beta1.ClusterSet{
				ObjectMeta: metav1.ObjectMeta{Name: "prod", Generation: 1, Annotations: tc.annotations},
				Spec:       libv1beta1.ClusterSetSpec{MaxReplicas: 1},
			})
			if condition := settle(t, r); condition != nil {
				t.Errorf("a set that never was halted has %+v", condition)
			}
			halted = true
			if condition := settle(t, r); condition == nil || condition.Status != tc.status || condition.Reason != tc.reason || condition.ObservedGeneration != 1 {
				t.Errorf("the condition is %+v, want %s/%s", condition, tc.status, tc.reason)
			}
			halted = false
			if condition := settle(t, r); condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != libv1beta1.ReasonClustersRecovered {
				t.Errorf("the condition is %+v after the clusters came back", condition)
			}
			if *writes != 3 {
				t.Errorf("the status was written %d times, want once for each change", *writes)
			}
		})
	}
}
