// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
)

// Stored is what a set's status says, the input that makes a selection sticky.
type Stored struct {
	// Selected is status.selectedClusterRefs, oldest first, and Count
	// status.selectedClusterCount.
	Selected []fleet.Ref
	Count    int
}

// SetState is a set as it is stored.
type SetState struct {
	Spec   Spec
	Stored Stored
}

// State is a whole fleet as it is stored.
type State struct {
	Members   []fleet.Member
	Sets      []SetState
	Summaries []Summary
}

// Index holds members, sets and summaries, and answers what each set selects.
// It is brought up to date by one follower of the store and read by any number
// of others; all methods may be called concurrently.
//
// A read costs what it returns. A result is computed by the first read after
// something changed that it depends on. A write holds readers up for as long
// as it takes to move one cluster in the lists of the sets that it changes
// class in, some 2 µs for each of them; what is long (a set that is new or
// matches differently, Load) is prepared beside the readers.
type Index struct {
	// writing is held by the one writer, from reading what is there until the
	// change is made, and mu while it is made. Writers lock writing first.
	writing sync.Mutex
	mu      sync.RWMutex
	content

	listeners listeners
}

// content is what an index holds. It changes only while both locks are held.
type content struct {
	roster      *roster
	sets        map[SetKey]*setState
	seeing      map[string]map[SetKey]*setState // by the namespace that they see, "" for all
	withdrawals *withdrawals
}

func newContent(size int) content {
	return content{
		roster:      newRoster(size),
		sets:        map[SetKey]*setState{},
		seeing:      map[string]map[SetKey]*setState{},
		withdrawals: newWithdrawals(),
	}
}

// NewIndex returns an empty index.
func NewIndex() *Index {
	return &Index{content: newContent(0)}
}

// Load replaces everything that the index holds by state, at once as readers
// see it. It is much cheaper than the same in single steps, and the way to
// start, or to start over when a watch has lost its place.
func (x *Index) Load(state State) {
	next := newContent(len(state.Members))
	for _, from := range state.Members {
		next.roster.put(newMember(from))
	}
	for _, summary := range state.Summaries {
		next.withdrawals.put(summary)
	}
	for _, set := range state.Sets {
		next.addSet(newSetState(set.Spec, set.Stored.clone(), next.roster))
	}

	x.writing.Lock()
	affected := keysOf(x.sets)
	for key := range next.sets {
		if x.sets[key] == nil {
			affected = append(affected, key)
		}
	}
	x.mu.Lock()
	x.content = next
	x.mu.Unlock()
	x.writing.Unlock()
	x.notify(affected)
}

// PutMember adds a member or takes its new state. Of one that changes nothing
// it costs the comparison, and of one that changes nothing that sets look at
// (its UID, EverReady, Paused) one assignment.
func (x *Index) PutMember(from fleet.Member) {
	next := newMember(from)
	x.writing.Lock()
	var affected []SetKey
	if old, _, known := x.roster.get(from.Ref); !known || !old.sameAs(next) {
		affected = x.changeMember(old, next)
	}
	x.writing.Unlock()
	x.notify(affected)
}

// DeleteMember forgets a member that does not exist any more.
func (x *Index) DeleteMember(ref fleet.Ref) {
	x.writing.Lock()
	var affected []SetKey
	if old, _, exists := x.roster.get(ref); exists {
		affected = x.changeMember(old, nil)
	}
	x.writing.Unlock()
	x.notify(affected)
}

// changeMember replaces old by next, either of which may be nil, and returns
// the sets that it matched before or matches now.
func (x *Index) changeMember(old, next *member) []SetKey {
	moves := x.movesOf(old, next)
	x.mu.Lock()
	defer x.mu.Unlock()
	var at slot
	if next != nil {
		at = x.roster.put(next)
	} else {
		at = x.roster.byRef[old.ref]
	}
	var affected []SetKey
	for _, move := range moves {
		move.set.move(at, move.from, move.to)
		if move.from < unmatched || move.to < unmatched {
			affected = append(affected, move.set.spec.Set)
		}
	}
	if next == nil {
		x.roster.remove(at)
	}
	return affected
}

type move struct {
	set      *setState
	from, to class
}

// movesOf asks all sets what the change means to them, which is the long part
// of it and needs no lock against readers.
func (x *Index) movesOf(old, next *member) []move {
	if old != nil && next != nil && old.ready == next.ready && old.matchesLike(next) {
		return nil
	}
	some := old
	if some == nil {
		some = next
	}
	var moves []move
	for _, namespace := range visibleFrom(some.ref.Namespace) {
		for _, set := range x.seeing[namespace] {
			if from, to := set.classesOf(old, next); from != to {
				moves = append(moves, move{set, from, to})
			}
		}
	}
	return moves
}

// visibleFrom lists under which keys of content.seeing the sets are that see
// a cluster of the namespace.
func visibleFrom(namespace string) []string {
	if namespace == "" {
		return []string{""}
	}
	return []string{"", namespace}
}

// PutSet adds a set or takes its new spec and status. stored is copied, spec
// is kept.
func (x *Index) PutSet(spec Spec, stored Stored) {
	x.writing.Lock()
	changed := x.changeSet(spec, stored)
	x.writing.Unlock()
	if changed {
		x.notify([]SetKey{spec.Set})
	}
}

func (x *Index) changeSet(spec Spec, stored Stored) bool {
	old := x.sets[spec.Set]
	if old == nil || !old.spec.matchesLike(spec) {
		next := newSetState(spec, stored.clone(), x.roster)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.addSet(next)
		return true
	}
	if old.spec.MaxReplicas == spec.MaxReplicas && old.spec.Halted == spec.Halted && old.stored.equal(stored) {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	old.spec, old.stored = spec, stored.clone()
	old.computed.Store(nil)
	return true
}

func (c *content) addSet(s *setState) {
	key := s.spec.Set
	c.sets[key] = s
	if c.seeing[key.Namespace] == nil {
		c.seeing[key.Namespace] = map[SetKey]*setState{}
	}
	c.seeing[key.Namespace][key] = s
}

// DeleteSet forgets a set that does not exist any more.
func (x *Index) DeleteSet(key SetKey) {
	x.writing.Lock()
	_, existed := x.sets[key]
	x.mu.Lock()
	delete(x.sets, key)
	delete(x.seeing[key.Namespace], key)
	if len(x.seeing[key.Namespace]) == 0 {
		delete(x.seeing, key.Namespace)
	}
	x.mu.Unlock()
	x.writing.Unlock()
	if existed {
		x.notify([]SetKey{key})
	}
}

// PutSummary adds a summary or takes its new state.
func (x *Index) PutSummary(summary Summary) {
	x.writing.Lock()
	var affected []SetKey
	if x.withdrawals.would(summary) {
		affected = x.changeWithdrawals(func() []SetKey { return x.withdrawals.put(summary) })
	}
	x.writing.Unlock()
	x.notify(affected)
}

// DeleteSummary forgets a summary that does not exist any more.
func (x *Index) DeleteSummary(name types.NamespacedName) {
	x.writing.Lock()
	affected := x.changeWithdrawals(func() []SetKey { return x.withdrawals.remove(name) })
	x.writing.Unlock()
	x.notify(affected)
}

// changeWithdrawals returns those of the sets changed that exist.
func (x *Index) changeWithdrawals(change func() []SetKey) []SetKey {
	x.mu.Lock()
	defer x.mu.Unlock()
	var affected []SetKey
	for _, key := range change() {
		if set := x.sets[key]; set != nil {
			set.computed.Store(nil)
			affected = append(affected, key)
		}
	}
	return affected
}

func keysOf(sets map[SetKey]*setState) []SetKey {
	keys := make([]SetKey, 0, len(sets))
	for key := range sets {
		keys = append(keys, key)
	}
	return keys
}

func (s Stored) clone() Stored {
	return Stored{slices.Clone(s.Selected), s.Count}
}

func (s Stored) equal(other Stored) bool {
	return s.Count == other.Count && slices.Equal(s.Selected, other.Selected)
}

// matchesLike reports whether both specs match the same clusters.
func (s Spec) matchesLike(other Spec) bool {
	return s.Set == other.Set && slices.Equal(s.Refs, other.Refs) &&
		restricting(s.Selector).String() == restricting(other.Selector).String()
}
