// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// moment is when something happened, by what the gate sees and by what it does not.
type moment struct {
	clocks Instant
	awake  time.Duration // that the machine had run, whatever its wall clock said
	real   time.Duration // that had passed, with the time that the machine was suspended
	ahead  int           // how often the wall clock had got ahead of the monotonic one
	back   int           // how often the wall clock had been set back
}

// gateModel is a gate, its clocks, and what really happens.
type gateModel struct {
	t      *testing.T
	rand   *rand.Rand
	clocks *clocks
	gate   *Gate
	lease  time.Duration

	now      moment
	sent     []moment // renewals that may still be answered, in any order
	renewed  *moment  // the last sent of those that were answered
	open     bool     // as it was last found
	epoch    int64
	happened []string
}

func (m *gateModel) upTo(most time.Duration) time.Duration {
	return time.Duration(m.rand.Int64N(int64(most)))
}

// pass lets time pass, with the machine running or suspended.
func (m *gateModel) pass(d time.Duration, suspended bool) {
	m.now.real += d
	if suspended {
		m.now.ahead++
		m.clocks.advance(0, d)
		return
	}
	m.now.awake += d
	m.clocks.advance(d, d)
}

// steps are what may happen, by name.
func (m *gateModel) steps() map[string]func() {
	return map[string]func(){
		"pass":      func() { m.pass(m.upTo(m.lease/3), false) },
		"pass long": func() { m.pass(m.upTo(2*m.lease), false) },
		"suspend":   func() { m.pass(m.upTo(2*m.lease), true) },
		"forward": func() {
			m.now.ahead++
			m.clocks.advance(0, m.upTo(2*m.lease))
		},
		"back": func() {
			m.now.back++
			m.clocks.advance(0, -m.upTo(time.Hour))
		},
		"send": func() {
			m.now.clocks = m.gate.Now()
			m.sent = append(m.sent, m.now)
		},
		"answer": m.answer,
		"open":   m.tryOpen,
		"close": func() {
			m.gate.Close()
			m.open = false
		},
	}
}

// answer extends the gate by a renewal that was sent at some time before.
func (m *gateModel) answer() {
	if len(m.sent) == 0 {
		return
	}
	i := m.rand.IntN(len(m.sent))
	s := m.sent[i]
	m.sent = slices.Delete(m.sent, i, i+1)
	m.gate.Extend(s.clocks.Add(m.lease))
	if m.renewed == nil || s.clocks.Monotonic > m.renewed.clocks.Monotonic {
		m.renewed = &s
	}
}

// tryOpen begins a term, if there is none.
func (m *gateModel) tryOpen() {
	_, closed := m.gate.Epoch()
	m.epoch++
	err := m.gate.Open(m.epoch)
	switch {
	case closed == nil && err == nil:
		m.failf("an open gate was opened again")
	case closed != nil && err != nil && m.holds():
		m.failf("it does not open on a lease that holds: %v", err)
	case closed != nil:
		m.open = err == nil
	}
}

// holds says that no clock can find the lease to have run out: it has not, and
// the wall clock was not ahead since it was renewed.
func (m *gateModel) holds() bool {
	return m.renewed != nil && m.now.awake-m.renewed.awake < m.lease && m.now.ahead == m.renewed.ahead
}

func (m *gateModel) failf(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("%s, after %q", fmt.Sprintf(format, args...), m.happened)
}

// check compares the gate with what it may be.
func (m *gateModel) check() {
	m.t.Helper()
	_, err := m.gate.Epoch()
	isOpen := err == nil
	switch {
	case isOpen && !m.open:
		m.failf("it opened by itself")
	case isOpen && m.now.awake-m.renewed.awake >= m.lease:
		m.failf("open %s after the renewal was sent, while the machine ran", m.now.awake-m.renewed.awake)
	case isOpen && m.now.back == m.renewed.back && m.now.real-m.renewed.real >= m.lease:
		m.failf("open %s after the renewal was sent, some of it suspended", m.now.real-m.renewed.real)
	case !isOpen && m.open && m.holds():
		m.failf("closed on a lease that holds")
	}
	if closed(m.gate.Expired()) == isOpen {
		m.failf("Expired is closed: %t, and the gate is open: %t", !isOpen, isOpen)
	}
	m.open = isOpen
}

// TestNoClockProlongsALease does anything to the clocks, in any order with renewals. The gate is never
// open for longer than the lease since the last renewal's sending: while the machine runs, whatever its
// wall clock says, and also while it is suspended, unless the wall clock was set back and cannot tell.
// Nothing but Open opens it, and a clock that is set back closes nothing.
func TestNoClockProlongsALease(t *testing.T) {
	const rounds, steps = 3000, 60
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed=%d", seed)
	opened := 0
	for round := range uint64(rounds) {
		clocks := newClocks()
		m := &gateModel{
			t: t, rand: rand.New(rand.NewPCG(seed, round)), clocks: clocks, lease: 4500 * time.Millisecond,
			gate: NewGate(GateOptions{Leased: true, Clock: clocks}),
		}
		possible := m.steps()
		// Renewals and terms, so that the gate is open most of the time.
		names := []string{"send", "answer", "open", "send", "answer", "open", "pass", "pass", "pass long", "suspend", "forward", "back", "back", "close"}
		for range steps {
			name := names[m.rand.IntN(len(names))]
			m.happened = append(m.happened, name)
			possible[name]()
			m.check()
			if m.open {
				opened++
			}
		}
		m.gate.Close()
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	if opened < rounds*steps/20 {
		t.Errorf("the gate was open at %d of %d looks: too few to prove anything", opened, rounds*steps)
	}
}

// TestAJumpOfTheWallClockAtAnyMoment of the time between two renewals, of a renewal's way to the host,
// and of its answer's way back. A jump that leaves the lease time costs nothing; one that does not
// closes the gate at once. In no case does it end the process, which leads again when it is alone.
func TestAJumpOfTheWallClockAtAnyMoment(t *testing.T) {
	const step = 7 * time.Millisecond // a request takes 5 ms in each direction
	for _, jump := range []time.Duration{-time.Hour, -time.Second, time.Second, time.Hour} {
		for at := time.Duration(0); at < renewPeriod+2*step; at += step {
			elected(t, 2, func(t *testing.T, c *cluster, leader *replica) {
				time.Sleep(at)
				leader.clock.jump(jump)
				_, err := leader.gate.Epoch()
				harmless := jump < leaseDuration-leaseMargin-2*renewPeriod
				if harmless != (err == nil) {
					t.Errorf("%s at %s: the gate is open: %t", jump, at, err == nil)
				}
				_, took := c.leader(takeover)
				if limit := 2 * nextLook; took > limit {
					t.Errorf("%s at %s: somebody leads %s later, want %s", jump, at, took, limit)
				}
				time.Sleep(2 * takeover)
				if got := leader.epochsOf(); harmless && !slices.Equal(got, []int64{1}) {
					t.Errorf("%s at %s: it led the terms %v, want the first alone", jump, at, got)
				}
				_ = c.others(leader)[0].stop()
				if again, _ := c.leader(takeover); again != leader || closed(leader.done) {
					t.Errorf("%s at %s: %s leads, and the one whose clock jumped has ended: %t", jump, at, again.name, closed(leader.done))
				}
			})
		}
	}
}

// TestASuspendedMachine wakes up with a monotonic clock that says that no time has passed.
func TestASuspendedMachine(t *testing.T) {
	for asleep, lost := range map[time.Duration]bool{2 * time.Second: false, 4500 * time.Millisecond: true, 30 * time.Second: true} {
		for at := time.Duration(0); at < renewPeriod; at += 93 * time.Millisecond {
			elected(t, 2, func(t *testing.T, c *cluster, leader *replica) {
				time.Sleep(at)
				leader.link.set(stopped)
				leader.clock.suspend()
				time.Sleep(asleep)
				leader.clock.wake()
				// It has not looked at the host yet.
				if _, err := leader.gate.Epoch(); lost != errors.Is(err, ErrClosed) {
					t.Errorf("after %s its gate is closed: %v, want %t", asleep, err, lost)
				}
				leader.link.set(none)
				time.Sleep(2 * takeover)
				next, _ := c.leader(takeover)
				if epochs := leader.epochsOf(); !lost && (next != leader || !slices.Equal(epochs, []int64{1})) {
					t.Errorf("after %s %s leads, and it led the terms %v", asleep, next.name, epochs)
				}
				for _, r := range c.others(leader) {
					_ = r.stop()
				}
				if again, _ := c.leader(takeover); again != leader {
					t.Errorf("after %s %s leads, want the one that was suspended", asleep, again.name)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := &clock{start: time.Now(), speed: 1}
		before := c.Now()
		c.suspend()
		time.Sleep(time.Minute)
		c.wake()
		if now := c.Now(); now.Monotonic != before.Monotonic || !now.Wall.Equal(before.Wall.Add(time.Minute)) {
			t.Errorf("the test's clock went from %v to %v", before, now)
		}
	})
}
