// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func TestPauseInTheStatus(t *testing.T) {
	noon := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	cluster := &libv1beta1.SveltosCluster{}
	status := func(now time.Time) libv1beta1.SveltosClusterStatus {
		setPause(&cluster.Status, cluster, now)
		return cluster.Status
	}
	if got := status(noon); len(got.Conditions) != 0 || got.NextPause != nil {
		t.Errorf("a cluster that nothing pauses has %+v", got)
	}
	cluster.Spec.ActiveWindow = &libv1beta1.ActiveWindow{From: "0 22 * * *", To: "0 4 * * *"}
	outside := status(noon)
	condition := meta.FindStatusCondition(outside.Conditions, libv1beta1.ConditionPaused)
	if condition == nil || condition.Status != "True" || condition.Reason != libv1beta1.ReasonOutsideActiveWindow {
		t.Fatalf("outside of the window it has %+v", outside.Conditions)
	}
	if !outside.NextUnpause.Equal(timeAt(noon.Add(10*time.Hour))) || !outside.NextPause.Equal(timeAt(noon.Add(16*time.Hour))) || len(outside.ActiveWindowHash) == 0 {
		t.Errorf("what comes next: %+v", outside)
	}
	// The clock may go back as well.
	for _, step := range []struct {
		after  time.Duration
		paused bool
	}{{10 * time.Hour, false}, {16 * time.Hour, true}, {11 * time.Hour, false}, {-24 * time.Hour, true}} {
		if got := status(noon.Add(step.after)); meta.IsStatusConditionTrue(got.Conditions, libv1beta1.ConditionPaused) != step.paused {
			t.Errorf("after %s: %+v, want paused %t", step.after, got.Conditions, step.paused)
		}
	}
	cluster.Spec.ActiveWindow, cluster.Spec.Paused = nil, true
	if got := status(noon); meta.FindStatusCondition(got.Conditions, libv1beta1.ConditionPaused).Reason != libv1beta1.ReasonPausedBySpec || got.NextPause != nil {
		t.Errorf("paused by its spec it has %+v", got)
	}
	cluster.Spec.Paused = false
	if got := status(noon); len(got.Conditions) != 0 {
		t.Errorf("when nothing pauses it any more it has %+v", got.Conditions)
	}
}

func TestAWindowIsLookedAtWhenItChangesAndNowAndThen(t *testing.T) {
	now := time.Date(2026, 3, 10, 21, 59, 50, 0, time.UTC)
	r := &Reconciler{Now: func() time.Time { return now }}
	cluster := &libv1beta1.SveltosCluster{}
	if got := r.untilWindow(cluster); got != 0 {
		t.Errorf("a cluster without a window is looked at after %s", got)
	}
	cluster.Spec.ActiveWindow = &libv1beta1.ActiveWindow{From: "0 22 * * *", To: "0 4 * * *"}
	if got := r.untilWindow(cluster); got != 10*time.Second {
		t.Errorf("before it begins it is looked at after %s, want 10s", got)
	}
	now = now.Add(time.Hour)
	if got := r.untilWindow(cluster); got != windowLook {
		t.Errorf("long before it ends it is looked at after %s, want %s", got, windowLook)
	}
	if soonest(0, 0) != 0 || soonest(0, 2) != 2 || soonest(1, 0) != 1 || soonest(3, 2) != 2 {
		t.Error("zero is never")
	}
}

func timeAt(moment time.Time) *metav1.Time { return &metav1.Time{Time: moment} }
