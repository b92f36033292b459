// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"iter"
	"slices"

	"github.com/muster-project/muster/pkg/fleet"
)

// candidates is a set in an index as Compute sees it. It is used with the
// index locked.
type candidates struct {
	set       *setState
	roster    *roster
	returning map[fleet.Ref]int
}

func (c candidates) at(at slot) Candidate {
	return c.of(c.roster.members[at])
}

func (c candidates) of(m *member) Candidate {
	return Candidate{
		Ref:       m.ref,
		Matching:  c.set.matcher.matches(m.ref, m, m.deleting),
		Ready:     m.ready,
		Returning: c.returning[m.ref] > 0,
	}
}

func (c candidates) Lookup(ref fleet.Ref) (Candidate, bool) {
	m, _, exists := c.roster.get(ref)
	if !exists {
		return Candidate{}, false
	}
	candidate := c.of(m)
	return candidate, candidate.Matching
}

func (c candidates) Healthy() iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		for at := range c.set.walk(nil, healthy) {
			m := c.roster.members[at]
			if !yield(Candidate{m.ref, true, true, c.returning[m.ref] > 0}) {
				return
			}
		}
	}
}

func (c candidates) Returning() iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		for ref := range c.returning {
			if candidate, matches := c.Lookup(ref); matches && !yield(candidate) {
				return
			}
		}
	}
}

func (c candidates) Totals() Totals {
	lists := &c.set.lists
	matching := lists[healthy].length + lists[unhealthy].length
	return Totals{
		Visible:  matching + lists[unmatched].length,
		Matching: matching,
		Healthy:  lists[healthy].length,
	}
}

// compute returns the result, and makes it where it is not there. The index is
// locked for reading, so that no change comes in between.
func (c candidates) compute() *computed {
	if known := c.set.computed.Load(); known != nil {
		return known
	}
	c.set.computing.Lock()
	defer c.set.computing.Unlock()
	if known := c.set.computed.Load(); known != nil {
		return known
	}
	result := Compute(c.set.spec, c.set.stored.Selected, c)
	made := &computed{
		result:   result,
		selected: make([]Entry, len(result.Selected)),
		persisted: c.set.stored.Count == len(result.Selected) &&
			slices.Equal(c.set.stored.Selected, result.Selected),
	}
	for i, ref := range result.Selected {
		reason := result.reasons[ref]
		made.selected[i] = Entry{Ref: ref, Reason: reason, Ready: reason == Selected}
	}
	c.set.computed.Store(made)
	return made
}
