// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
)

// What has been withdrawn leaves nothing behind, and what is not being
// withdrawn is not kept at all: a fleet has very many summaries.
func TestWithdrawalsForget(t *testing.T) {
	w := newWithdrawals()
	for _, deleting := range []bool{false, true, false, true} {
		for i := range 10 {
			w.put(Summary{
				NamespacedName: types.NamespacedName{Name: fmt.Sprint(i)},
				Cluster:        fleet.Ref{Name: fmt.Sprint(i % 3)},
				Deleting:       deleting,
				Causes:         []SetKey{{Name: fmt.Sprint(i % 2)}},
			})
		}
		kept, sets := 0, 0
		if deleting {
			kept, sets = 10, 2
		}
		if len(w.summaries) != kept || len(w.clusters) != sets {
			t.Errorf("deleting %v: keeps %d summaries of %d sets, want %d of %d", deleting, len(w.summaries), len(w.clusters), kept, sets)
		}
	}
	for i := range 10 {
		w.remove(types.NamespacedName{Name: fmt.Sprint(i)})
	}
	if len(w.summaries) != 0 || len(w.clusters) != 0 {
		t.Errorf("left behind: %v, %v", w.summaries, w.clusters)
	}
}
