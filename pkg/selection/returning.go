// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
)

// Summary is what selection knows of a ClusterSummary.
type Summary struct {
	types.NamespacedName
	Cluster fleet.Ref
	// Deleting is true from the summary's deletionTimestamp on; it goes when
	// what it put on the cluster is withdrawn.
	Deleting bool
	// Causes are what made the profile take the cluster: sets, and other
	// things under a kind of their own (a profile's selector or refs), which
	// count only in that they are not the set.
	Causes []SetKey
}

// withdrawing returns the set that the summary makes its cluster Returning in.
func (s Summary) withdrawing() (SetKey, bool) {
	if !s.Deleting || len(s.Causes) == 0 {
		return SetKey{}, false
	}
	for _, cause := range s.Causes[1:] {
		if cause != s.Causes[0] {
			return SetKey{}, false
		}
	}
	return s.Causes[0], true
}

// withdrawals knows the clusters from which add-ons that one set alone put
// there are being withdrawn. Of the summaries of a fleet it keeps those few
// that say so, whether or not their set and cluster are known (yet, or still).
type withdrawals struct {
	summaries map[types.NamespacedName]withdrawal
	clusters  map[SetKey]map[fleet.Ref]int // how many summaries say so
}

type withdrawal struct {
	set     SetKey
	cluster fleet.Ref
}

func newWithdrawals() *withdrawals {
	return &withdrawals{
		summaries: map[types.NamespacedName]withdrawal{},
		clusters:  map[SetKey]map[fleet.Ref]int{},
	}
}

// would reports whether put would change anything.
func (w *withdrawals) would(s Summary) bool {
	old, had := w.summaries[s.NamespacedName]
	set, has := s.withdrawing()
	return had != has || has && old != withdrawal{set, s.Cluster}
}

// put takes the summary's new state and returns the sets for which it changed
// anything.
func (w *withdrawals) put(s Summary) []SetKey {
	changed := w.remove(s.NamespacedName)
	set, withdrawing := s.withdrawing()
	if !withdrawing {
		return changed
	}
	w.summaries[s.NamespacedName] = withdrawal{set, s.Cluster}
	if w.clusters[set] == nil {
		w.clusters[set] = map[fleet.Ref]int{}
	}
	w.clusters[set][s.Cluster]++
	return append(changed, set)
}

func (w *withdrawals) remove(name types.NamespacedName) []SetKey {
	old, had := w.summaries[name]
	if !had {
		return nil
	}
	delete(w.summaries, name)
	counts := w.clusters[old.set]
	counts[old.cluster]--
	if counts[old.cluster] == 0 {
		delete(counts, old.cluster)
	}
	if len(counts) == 0 {
		delete(w.clusters, old.set)
	}
	return []SetKey{old.set}
}
