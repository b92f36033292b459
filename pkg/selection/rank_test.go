// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"fmt"
	"testing"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// Replicas of different versions have to agree on ranks: these values never
// change.
func TestRankIsStable(t *testing.T) {
	for _, c := range []struct {
		set  selection.SetKey
		ref  fleet.Ref
		want uint64
	}{
		{selection.SetKey{Kind: "ClusterSet", Name: "prod"}, cluster("east", "c1"), 0xa091649c760cf104},
		{selection.SetKey{Kind: "ClusterSet", Name: "prod"}, cluster("east", "c2"), 0x8f6aebbb69f5a272},
		{selection.SetKey{Kind: "ClusterSet", Name: "edge"}, cluster("east", "c1"), 0xc8a00430e7d7047d},
		{selection.SetKey{Kind: "Set", Namespace: "east", Name: "prod"}, cluster("east", "c1"), 0x47ce15f32a6a9daf},
	} {
		if got := selection.Rank(c.set, c.ref); got != c.want {
			t.Errorf("%s, %s: %#x, want %#x", c.set, c.ref, got, c.want)
		}
		if got := oracleRank(c.set, c.ref, none); got != c.want {
			t.Errorf("%s, %s: as documented it is %#x, want %#x", c.set, c.ref, got, c.want)
		}
	}
}

// A cluster that is registered again keeps its rank: only names count.
func TestRankLooksAtNamesAlone(t *testing.T) {
	set := selection.SetKey{Kind: selection.KindClusterSet, Name: "prod"}
	ref := cluster("east", "c1")
	other := fleet.Ref{Group: "cluster.x-k8s.io", Kind: "Cluster", Namespace: "east", Name: "c1"}
	if selection.Rank(set, ref) != selection.Rank(set, other) {
		t.Error("the kind of a cluster changes its rank")
	}
}

// Many sets spread over a fleet, however alike all names are: each of 20
// clusters is the first choice of its share of sets, and where one dies, each
// of the others takes over its share. The bound is a chi-squared value that an
// even spread exceeds less than once in a million times; the names are fixed,
// so that this passes always or never.
func TestSetsSpreadOverAFleet(t *testing.T) {
	const sets, clusters, bound = 20_000, 20, 65.0
	var refs []fleet.Ref
	for i := range clusters {
		refs = append(refs, cluster("fleet", fmt.Sprintf("cluster-%02d", i)))
	}
	chosen, tookOver := map[fleet.Ref]int{}, map[fleet.Ref]int{}
	for i := range sets {
		first, second := lowest(selection.SetKey{Kind: selection.KindClusterSet, Name: fmt.Sprintf("set-%05d", i)}, refs)
		chosen[first]++
		if first == refs[0] {
			tookOver[second]++
		}
	}
	if got := chiSquared(chosen, refs); got > bound {
		t.Errorf("chi-squared %.1f of first choices %v", got, chosen)
	}
	if got := chiSquared(tookOver, refs[1:]); got > bound {
		t.Errorf("chi-squared %.1f of those that take over from %s: %v", got, refs[0], tookOver)
	}
}

// chiSquared measures how far counts are from being even.
func chiSquared(counts map[fleet.Ref]int, over []fleet.Ref) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	even := float64(total) / float64(len(over))
	sum := 0.0
	for _, ref := range over {
		off := float64(counts[ref]) - even
		sum += off * off / even
	}
	return sum
}

func lowest(set selection.SetKey, refs []fleet.Ref) (first, second fleet.Ref) {
	for _, ref := range refs {
		switch {
		case first == (fleet.Ref{}) || selection.Rank(set, ref) < selection.Rank(set, first):
			first, second = ref, first
		case second == (fleet.Ref{}) || selection.Rank(set, ref) < selection.Rank(set, second):
			second = ref
		}
	}
	return first, second
}
