// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

const (
	// confirmPause is how long to wait for a probe before looking at its result:
	// one of a cluster that is well takes some milliseconds.
	confirmPause = 25 * time.Millisecond
	// recoveryPause is how long to wait before looking again at a cluster that answers
	// and is not ready; when it is its status says so.
	recoveryPause = 500 * time.Millisecond
)

// Evidence is what probes have shown of clusters. *fleet.Prober has it.
type Evidence interface {
	FailingSince(fleet.Ref) time.Time
	AnsweredSince(fleet.Ref, time.Time) bool
	Well(fleet.Ref) bool
	ProbeNow(fleet.Ref)
}

// postpone says for how long a selection that replaces clusters has to wait, 0 if
// it has not.
//
// A leader that is cut off from all clusters notices it of one after the other, and
// finds them well again one after the other. For a moment the next ones still look
// well, or the first ones do already: a place goes to none of which nothing was
// heard since the other began to fail, and is taken from none that answers again,
// also in the moment in which the prober calls it ready and what is stored does not.
// Clusters that take a place nobody had need no such proof.
func (r *Reconciler) postpone(previous []corev1.ObjectReference, result selection.Result) time.Duration {
	fresh := sets.New(result.Selected...)
	var replaced []fleet.Ref
	for _, reference := range previous {
		ref := clusterref.Of(reference.Namespace, reference.Name)
		if fresh.Has(ref) {
			fresh.Delete(ref)
		} else {
			replaced = append(replaced, ref)
		}
	}
	if len(fresh) == 0 || len(replaced) == 0 {
		return 0
	}
	if slices.ContainsFunc(result.Dropped, r.Evidence.Well) {
		return recoveryPause
	}
	var since time.Time
	for _, ref := range replaced {
		if failing := r.Evidence.FailingSince(ref); failing.After(since) {
			since = failing
		}
	}
	var pause time.Duration
	for ref := range fresh {
		if !r.Evidence.AnsweredSince(ref, since) {
			r.Evidence.ProbeNow(ref)
			pause = confirmPause
		}
	}
	return pause
}
