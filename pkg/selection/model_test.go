// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// model is what an index should hold, as plain maps that are gone through in
// full for every answer.
type model struct {
	members   map[fleet.Ref]fleet.Member
	sets      map[selection.SetKey]selection.SetState
	summaries map[types.NamespacedName]selection.Summary
}

// expected is what an index should know of one set.
type expected struct {
	result  selection.Result
	entries []selection.Entry // of all that the set sees, in rank order
}

func (m model) expect(set selection.SetState) expected {
	key := set.Spec.Set
	returning := func(ref fleet.Ref) bool {
		for _, summary := range m.summaries {
			others := slices.DeleteFunc(slices.Clone(summary.Causes), func(cause selection.SetKey) bool { return cause == key })
			if summary.Cluster == ref && summary.Deleting && len(summary.Causes) > 0 && len(others) == 0 {
				return true
			}
		}
		return false
	}
	members := slices.SortedFunc(maps.Values(m.members), func(a, b fleet.Member) int {
		if oracleRank(key, a.Ref, none) < oracleRank(key, b.Ref, none) {
			return -1
		} else if oracleRank(key, a.Ref, none) > oracleRank(key, b.Ref, none) {
			return 1
		}
		return a.Compare(b.Ref)
	})
	candidates := selection.NewCandidates(set.Spec, members, returning)
	e := expected{result: selection.Compute(set.Spec, set.Stored.Selected, candidates)}
	rank := 0
	for _, member := range members {
		if key.Namespace != "" && member.Namespace != key.Namespace {
			continue
		}
		entry := selection.Entry{Ref: member.Ref, Ready: member.Ready, Reason: selection.NotMatching}
		if candidate, matches := candidates.Lookup(member.Ref); matches {
			rank++
			entry.Rank = rank
			entry.Reason = e.result.Reason(candidate)
		}
		e.entries = append(e.entries, entry)
	}
	return e
}

// having lists the entries that a query with the reason should page through.
func (e expected) having(reason selection.Reason) []selection.Entry {
	entries := []selection.Entry{}
	for _, entry := range e.entries {
		if entry.Reason == reason || reason == "" && entry.Reason != selection.NotMatching {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (e expected) selected() []selection.Entry {
	entries := make([]selection.Entry, len(e.result.Selected))
	for i, ref := range e.result.Selected {
		entries[i] = e.entries[slices.IndexFunc(e.entries, func(entry selection.Entry) bool { return entry.Ref == ref })]
		entries[i].Rank = 0
	}
	return entries
}
