// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"iter"
	"sync"
	"sync/atomic"
)

// class is what a set's matching and a cluster's health make of the cluster.
// Every cluster in a set's sight is in the list of one class.
type class int

const (
	healthy class = iota
	unhealthy
	unmatched
	classes // how many there are

	invisible = classes // in no list
)

// setState is a set in an index: its spec, the clusters in its sight by class
// and rank, and the result as long as nothing that it depends on has changed.
type setState struct {
	spec    Spec
	stored  Stored
	matcher matcher
	order   order
	lists   [classes]rankList

	// computing is held by the one reader that computes the result; the
	// others wait for it.
	computing sync.Mutex
	computed  atomic.Pointer[computed]
}

// computed is a result with everything that reading it needs and that is as
// long as the result is.
type computed struct {
	result    Result
	selected  []Entry
	persisted bool
}

// newSetState sorts all clusters that the set sees, which costs what these are.
func newSetState(spec Spec, stored Stored, roster *roster) *setState {
	s := &setState{
		spec:    spec,
		stored:  stored,
		matcher: newMatcher(spec),
		order:   order{seedOf(spec.Set), roster},
	}
	var unsorted [classes][]rankedSlot
	for at := range roster.in(spec.Set.Namespace) {
		c := s.classOf(roster.members[at])
		unsorted[c] = append(unsorted[c], rankedSlot{s.order.rank(at), at})
	}
	for c := range classes {
		s.lists[c] = newRankList(s.order, s.order.sort(unsorted[c]))
	}
	return s
}

func (s *setState) classOf(m *member) class {
	return healthOf(m, s.matcher.matches(m.ref, m, m.deleting))
}

func healthOf(m *member, matches bool) class {
	switch {
	case !matches:
		return unmatched
	case m.ready:
		return healthy
	default:
		return unhealthy
	}
}

// classesOf returns the classes of one cluster before and after a change.
func (s *setState) classesOf(before, after *member) (from, to class) {
	switch {
	case before == nil:
		return invisible, s.classOf(after)
	case after == nil:
		return s.classOf(before), invisible
	case before.matchesLike(after):
		matches := s.matcher.matches(after.ref, after, after.deleting)
		return healthOf(before, matches), healthOf(after, matches)
	default:
		return s.classOf(before), s.classOf(after)
	}
}

// move takes a cluster, which is in the roster, from one list to another.
func (s *setState) move(at slot, from, to class) {
	if from != invisible {
		s.lists[from].remove(s.order, at)
	}
	if to != invisible {
		s.lists[to].insert(s.order, at)
	}
	s.computed.Store(nil)
}

// rank is the place of a matching cluster among all that match, from 1 on.
func (s *setState) rank(at slot) int {
	p := s.order.position(at)
	ready, _ := s.lists[healthy].search(s.order, p)
	notReady, _ := s.lists[unhealthy].search(s.order, p)
	return ready.before() + notReady.before() + 1
}

// passed counts the matching clusters up to p, none where p is nil.
func (s *setState) passed(p *position) int {
	count := 0
	for c := range unmatched {
		from := s.from(c, p)
		count += from.before()
	}
	return count
}

// from returns the cursor at the first cluster of a class behind p, or at the
// first of all where p is nil.
func (s *setState) from(c class, p *position) cursor {
	if p == nil {
		return s.lists[c].first()
	}
	return s.lists[c].after(s.order, *p)
}

// walk yields the slots of some classes in rank order, beginning behind p.
func (s *setState) walk(p *position, of ...class) iter.Seq[slot] {
	cursors := make([]cursor, len(of))
	for i, c := range of {
		cursors[i] = s.from(c, p)
	}
	return func(yield func(slot) bool) {
		for {
			least := s.least(cursors)
			if least == nil {
				return
			}
			at, _ := least.peek()
			if least.next(); !yield(at) {
				return
			}
		}
	}
}

// least returns the cursor that is first in rank, and nil when all have ended.
func (s *setState) least(cursors []cursor) *cursor {
	var least *cursor
	var first slot
	for i := range cursors {
		at, more := cursors[i].peek()
		if more && (least == nil || s.order.compare(at, s.order.position(first)) < 0) {
			least, first = &cursors[i], at
		}
	}
	return least
}
