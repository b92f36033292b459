// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"iter"
	"slices"
	"strings"

	"github.com/muster-project/muster/pkg/fleet"
)

// slot is where a member stands in a roster. It stays the same as long as the
// member is there, and is given away again afterwards; the rank lists of all
// sets hold slots, which are a sixteenth of a ref.
type slot uint32

// namespace lists the members in one namespace, in no order.
type namespace struct {
	name  string
	slots []slot
}

// roster holds the members of the fleet, each once.
type roster struct {
	members []*member // by slot; nil where a slot is free
	hashes  []uint64  // by slot: the member's half of its rank
	places  []int     // by slot: the index in its namespace's list
	free    []slot

	byRef       map[fleet.Ref]slot
	byNamespace map[string]*namespace
	kinds       map[string]string // shared strings of groups and kinds
}

func newRoster(size int) *roster {
	return &roster{
		members:     make([]*member, 0, size),
		hashes:      make([]uint64, 0, size),
		places:      make([]int, 0, size),
		byRef:       make(map[fleet.Ref]slot, size),
		byNamespace: map[string]*namespace{},
		kinds:       map[string]string{},
	}
}

func (r *roster) get(ref fleet.Ref) (*member, slot, bool) {
	at, found := r.byRef[ref]
	if !found {
		return nil, 0, false
	}
	return r.members[at], at, true
}

// put adds the member, or replaces the one of the same ref.
func (r *roster) put(m *member) slot {
	if old, at, found := r.get(m.ref); found {
		m.ref = old.ref // share its strings
		r.members[at] = m
		return at
	}
	home := r.share(&m.ref)
	at := r.allocate()
	r.members[at] = m
	r.hashes[at] = hashOf(m.ref)
	r.places[at] = len(home.slots)
	home.slots = append(home.slots, at)
	r.byRef[m.ref] = at
	return at
}

// share makes the ref use strings that the roster has already, and returns
// its namespace.
func (r *roster) share(ref *fleet.Ref) *namespace {
	home := r.byNamespace[ref.Namespace]
	if home == nil {
		home = &namespace{name: strings.Clone(ref.Namespace)}
		r.byNamespace[home.name] = home
	}
	*ref = fleet.Ref{
		Group:     r.kind(ref.Group),
		Kind:      r.kind(ref.Kind),
		Namespace: home.name,
		Name:      strings.Clone(ref.Name), // often cut out of a longer key
	}
	return home
}

func (r *roster) kind(name string) string {
	if shared, known := r.kinds[name]; known {
		return shared
	}
	name = strings.Clone(name)
	r.kinds[name] = name
	return name
}

func (r *roster) allocate() slot {
	if last := len(r.free) - 1; last >= 0 {
		at := r.free[last]
		r.free = r.free[:last]
		return at
	}
	r.members = append(r.members, nil)
	r.hashes = append(r.hashes, 0)
	r.places = append(r.places, 0)
	return slot(len(r.members) - 1)
}

func (r *roster) remove(at slot) {
	ref := r.members[at].ref
	home := r.byNamespace[ref.Namespace]
	last := len(home.slots) - 1
	moved := home.slots[last]
	home.slots[r.places[at]] = moved
	r.places[moved] = r.places[at]
	home.slots = home.slots[:last]
	if last == 0 {
		delete(r.byNamespace, ref.Namespace)
	}
	delete(r.byRef, ref)
	r.members[at] = nil
	r.free = append(r.free, at)
}

// snapshot copies the members of a namespace, or of all where it is empty.
// Members never change, so that the copy can be read without a lock.
func (r *roster) snapshot(namespace string) []*member {
	members := make([]*member, 0, r.size(namespace))
	for at := range r.in(namespace) {
		members = append(members, r.members[at])
	}
	return members
}

// size counts the members of a namespace, or all where it is empty.
func (r *roster) size(namespace string) int {
	if namespace == "" {
		return len(r.byRef)
	}
	if home := r.byNamespace[namespace]; home != nil {
		return len(home.slots)
	}
	return 0
}

// in yields the slots of a namespace, or all where it is empty.
func (r *roster) in(namespace string) iter.Seq[slot] {
	if namespace == "" {
		return r.all
	}
	if home := r.byNamespace[namespace]; home != nil {
		return slices.Values(home.slots)
	}
	return slices.Values([]slot(nil))
}

func (r *roster) all(yield func(slot) bool) {
	for at, m := range r.members {
		if m != nil && !yield(slot(at)) {
			return
		}
	}
}
