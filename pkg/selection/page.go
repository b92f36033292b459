// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"iter"
	"slices"

	"github.com/muster-project/muster/pkg/fleet"
)

// page answers one query: what it lists, and behind which place.
type page struct {
	candidates
	result *Result
	query  Query
	after  *position // nil on the first page
}

// list returns the entries, and a token where there are more.
func (p page) list() (entries []Entry, next string) {
	limit := p.query.limit()
	entries = make([]Entry, 0, min(limit, p.Totals().Visible))
	passed := p.set.passed(p.after)
	for at := range p.slots() {
		candidate := p.at(at)
		reason := p.result.Reason(candidate)
		if p.query.Reason != "" && reason != p.query.Reason {
			continue
		}
		if len(entries) == limit {
			return entries, encodeContinue(p.set.spec.Set, p.query.Reason, entries[limit-1].Ref)
		}
		entry := Entry{candidate.Ref, reason, candidate.Ready, 0}
		switch {
		case p.query.Reason == "": // every matching one is listed
			entry.Rank = passed + len(entries) + 1
		case candidate.Matching:
			entry.Rank = p.set.rank(at)
		}
		entries = append(entries, entry)
	}
	return entries, ""
}

// slots yields in rank order what may have the reason that is asked for, and
// little else: of standbys, say, the healthy ones, which are standbys but for
// those selected and returning.
func (p page) slots() iter.Seq[slot] {
	switch p.query.Reason {
	case Selected, Held:
		return p.sorted(slices.Values(p.result.Selected))
	case Returning:
		return p.sorted(func(yield func(fleet.Ref) bool) {
			for candidate := range p.Returning() {
				if !yield(candidate.Ref) {
					return
				}
			}
		})
	case Standby:
		return p.set.walk(p.after, healthy)
	case NotReady:
		return p.set.walk(p.after, unhealthy)
	case NotMatching:
		return p.set.walk(p.after, unmatched)
	default:
		return p.set.walk(p.after, healthy, unhealthy)
	}
}

// sorted yields clusters that are few enough to be sorted for every page.
func (p page) sorted(refs iter.Seq[fleet.Ref]) iter.Seq[slot] {
	var found []rankedSlot
	for ref := range refs {
		_, at, _ := p.roster.get(ref)
		if p.after == nil || p.set.order.compare(at, *p.after) > 0 {
			found = append(found, rankedSlot{p.set.order.rank(at), at})
		}
	}
	return slices.Values(p.set.order.sort(found))
}
