// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/activewindow"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/pause"
)

// windowLook is how long at most a cluster with an active window is not looked at. Timers
// do not follow a wall clock that is set, and windows do.
const windowLook = 30 * time.Second

func (r *Reconciler) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// untilWindow is after which time to look again at a cluster with an active window, zero
// for one without.
func (r *Reconciler) untilWindow(cluster *libv1beta1.SveltosCluster) time.Duration {
	state, _ := windowOf(cluster, r.now())
	if state == nil {
		return 0
	}
	return min(max(state.Next().Sub(r.now()), time.Millisecond), windowLook)
}

// soonest is the shorter of two times after which to look again, of which zero is never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// windowOf is the state of a cluster's active window and the hash of its expressions, nil
// for a cluster without one that can be read.
func windowOf(cluster *libv1beta1.SveltosCluster, now time.Time) (*activewindow.State, []byte) {
	if cluster.Spec.ActiveWindow == nil {
		return nil, nil
	}
	window, err := activewindow.Parse(cluster.Spec.ActiveWindow.From, cluster.Spec.ActiveWindow.To)
	if err != nil {
		return nil, nil
	}
	state := window.At(now)
	return &state, window.Hash()
}

// setPause says in status whether the cluster is paused, why, and when its active window
// begins and ends next. Whoever deploys decides by the clock itself; what changes here
// wakes it.
func setPause(status *libv1beta1.SveltosClusterStatus, cluster *libv1beta1.SveltosCluster, now time.Time) {
	status.NextPause, status.NextUnpause, status.ActiveWindowHash = nil, nil, nil
	state, hash := windowOf(cluster, now)
	if state != nil {
		status.NextPause = &metav1.Time{Time: state.Ends}
		status.NextUnpause = &metav1.Time{Time: state.Begins}
		status.ActiveWindowHash = hash
	}
	condition := metav1.Condition{Type: libv1beta1.ConditionPaused, ObservedGeneration: cluster.Generation}
	reason := pause.OfCluster(cluster, now)
	switch {
	case reason.Paused():
		condition.Status, condition.Reason, condition.Message = metav1.ConditionTrue, reason.Word, "Nothing is deployed: "+reason.Text+"."
	case state != nil:
		condition.Status, condition.Reason = metav1.ConditionFalse, libv1beta1.ReasonInsideActiveWindow
		condition.Message = "The active window ends at " + state.Ends.Format(time.RFC3339) + "."
	default:
		meta.RemoveStatusCondition(&status.Conditions, libv1beta1.ConditionPaused)
		return
	}
	meta.SetStatusCondition(&status.Conditions, condition)
}
