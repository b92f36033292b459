// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// BrakeWindow is how close together clusters go down for the fault to be
	// more likely ours.
	BrakeWindow = 30 * time.Second
	// brakeLeast is how many have to: fewer are everyday life in a small fleet.
	brakeLeast = 3
)

// Brake says when sets must move nothing: three or more and over half of the
// fleet went Down within BrakeWindow, so that the network around Muster is a
// likelier cause than the clusters.
//
// The fleet, here, are the clusters that have been ready and were not Down
// already when the others fell: neither a registration that never worked nor
// a cluster long dead says anything about our network.
//
// It holds from the third verdict on until fewer than half of the fleet are
// Down. Because verdicts about one outage arrive over some seconds, it also
// holds, without latching, as soon as one cluster is Down and those whose
// probes fail just now would make up the rest: otherwise the first third of
// the fleet would have moved before the second third was missed. That ends by
// itself with the verdict on the others, seconds later.
//
// It is pure: time enters through the clock when it is told something, and
// nothing changes in between. It is safe for concurrent use.
type Brake struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	members map[Ref]*brakeMember
	engaged bool
	count   BrakeState // kept up to date with members
	// fallen are the ones that fell, oldest first, with those that have
	// recovered since still in it.
	fallen []fall
}

// BrakeState explains what the brake says.
type BrakeState struct {
	// Halted: sets must move nothing.
	Halted bool
	// Fleet is how many clusters count; Down and Failing are how many of them
	// went down together, and how many have failed a probe and may follow.
	Fleet, Down, Failing int
}

type brakeMember struct {
	state memberState
	since time.Time // of falling; tells one fall from another
}

type memberState int

const (
	uncounted memberState = iota // never ready, or down for longer than the window
	up
	failing
	down
)

type fall struct {
	ref   Ref
	since time.Time
}

// NewBrake returns a brake that knows the fleet as it was stored: engaged as
// it was, and with those clusters that are Down already counted as part of
// this outage if it was, as long dead if it wasn't.
func NewBrake(clock clock.PassiveClock, engaged bool, known map[Ref]Health) *Brake {
	b := &Brake{clock: clock, members: make(map[Ref]*brakeMember, len(known)), engaged: engaged}
	now := clock.Now()
	for ref, health := range known {
		member := &brakeMember{state: stateOf(health), since: now}
		switch {
		case member.state == down && !engaged:
			member.state = uncounted
		case member.state == down:
			b.fallen = append(b.fallen, fall{ref, now})
		}
		b.members[ref] = member
		b.weigh(member.state, +1)
	}
	b.settle()
	return b
}

func stateOf(health Health) memberState {
	switch {
	case !health.EverReady:
		return uncounted
	case health.Down:
		return down
	case health.Failures > 0:
		return failing
	}
	return up
}

// Observe takes a cluster's health into account, whenever it changed, and
// reports whether sets must move nothing.
func (b *Brake) Observe(ref Ref, health Health) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, member := stateOf(health), b.members[ref]
	if member == nil {
		member = &brakeMember{}
		b.members[ref] = member
		if state == down {
			// Nobody saw it fall.
			state = uncounted
		}
	}
	stillDown := health.Down && (member.state == down || member.state == uncounted)
	if !stillDown {
		b.weigh(member.state, -1)
		b.weigh(state, +1)
		member.state = state
		if state == down {
			member.since = b.clock.Now()
			b.fallen = append(b.fallen, fall{ref, member.since})
			b.prune()
		}
	}
	b.settle()
	return b.count.Halted
}

// Forget drops a cluster that is no longer registered.
func (b *Brake) Forget(ref Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if member := b.members[ref]; member != nil {
		b.weigh(member.state, -1)
		delete(b.members, ref)
	}
	b.settle()
}

// State returns what the brake said last, and why.
func (b *Brake) State() BrakeState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

func (b *Brake) weigh(state memberState, by int) {
	if state == uncounted {
		return
	}
	b.count.Fleet += by
	switch state {
	case failing:
		b.count.Failing += by
	case down:
		b.count.Down += by
	}
}

// settle draws the conclusions.
func (b *Brake) settle() {
	count := &b.count
	if b.engaged && 2*count.Down < max(count.Fleet, 1) {
		b.engaged = false
	}
	if !b.engaged {
		b.expire()
		b.engaged = most(count.Down, count.Fleet)
	}
	count.Halted = b.engaged || count.Down > 0 && most(count.Down+count.Failing, count.Fleet)
}

func most(of, fleet int) bool {
	return of >= brakeLeast && 2*of > fleet
}

// expire stops counting clusters that have been down for longer than the
// window, so that an outage of days doesn't lower the bar for the next one.
func (b *Brake) expire() {
	now := b.clock.Now()
	for len(b.fallen) > 0 && now.Sub(b.fallen[0].since) > BrakeWindow {
		oldest := b.fallen[0]
		b.fallen = b.fallen[1:]
		if b.lasts(oldest) {
			b.weigh(down, -1)
			b.members[oldest.ref].state = uncounted
		}
	}
}

// lasts reports whether a cluster is still down since it fell.
func (b *Brake) lasts(f fall) bool {
	member := b.members[f.ref]
	return member != nil && member.state == down && member.since.Equal(f.since)
}

// prune leaves out those that have recovered, once they are the most: nothing
// expires while the brake is engaged, however often clusters rise and fall.
func (b *Brake) prune() {
	if len(b.fallen) > 2*len(b.members) {
		b.fallen = slices.DeleteFunc(b.fallen, func(f fall) bool { return !b.lasts(f) })
	}
}
