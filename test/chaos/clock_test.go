// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-project/muster/pkg/controllers/term"
)

// machine is the clocks that a contender's gate reads. The test sets the wall
// clock, and suspends the machine.
type machine struct {
	system term.Clock

	mu     sync.Mutex
	ahead  time.Duration // of the wall clock
	slept  time.Duration // that the monotonic clock stood still
	asleep *term.Instant // what both say while the machine is suspended
}

func newMachine() *machine { return &machine{system: term.SystemClock()} }

func (m *machine) Now() term.Instant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nowLocked()
}

func (m *machine) nowLocked() term.Instant {
	if m.asleep != nil {
		return *m.asleep
	}
	now := m.system.Now()
	now.Monotonic -= m.slept
	now.Wall = now.Wall.Add(m.ahead)
	return now
}

func (m *machine) jump(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += d
}

func (m *machine) suspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.nowLocked()
	m.asleep = &now
}

// wake lets the monotonic clock go on where it stood, and the wall clock be right.
func (m *machine) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before := m.asleep; before != nil {
		m.asleep = nil
		m.slept += m.nowLocked().Monotonic - before.Monotonic
	}
}

// steps of a renewal that a clock can jump at.
const (
	between  = "between renewals"
	sending  = "sending a renewal"
	answered = "answered"
)

// leaseWay is a contender's way to its Lease. It can be cut, and the test strikes
// at a step of a renewal on it.
type leaseWay struct {
	next http.RoundTripper

	mu     sync.Mutex
	cut    bool
	step   string
	strike func()
}

func (w *leaseWay) RoundTrip(request *http.Request) (*http.Response, error) {
	renewal := request.Method == http.MethodPut
	if renewal {
		w.at(sending)
	}
	if w.isCut() {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	response, err := w.next.RoundTrip(request)
	if renewal && err == nil {
		w.at(answered)
	}
	return response, err
}

// at strikes, if this is the step to strike at.
func (w *leaseWay) at(step string) {
	w.mu.Lock()
	strike := w.strike
	if step != w.step {
		strike = nil
	}
	if strike != nil {
		w.strike = nil
	}
	w.mu.Unlock()
	if strike != nil {
		strike()
	}
}

func (w *leaseWay) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *leaseWay) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// strikeAt runs strike at a step, and returns when it has run.
func (w *leaseWay) strikeAt(t *testing.T, step string, strike func()) {
	t.Helper()
	if step == between {
		strike()
		return
	}
	done := make(chan struct{})
	w.mu.Lock()
	w.step, w.strike = step, func() {
		strike()
		close(done)
	}
	w.mu.Unlock()
	select {
	case <-done:
	case <-time.After(takeoverLimit):
		t.Fatalf("no renewal came to %q", step)
	}
}

// clockFault is what happens to a leader's clocks.
type clockFault struct {
	name string
	// strike makes it happen, heal ends it.
	strike, heal func(*contender)
	// cut takes the Lease from the leader as well, until heal.
	cut bool
	// harmless says that the term goes on.
	harmless bool
}

func clockFaults() []clockFault {
	nothing := func(*contender) {}
	return []clockFault{
		{name: "forward", strike: func(c *contender) { c.machine.jump(time.Hour) }, heal: nothing},
		{name: "back", strike: func(c *contender) { c.machine.jump(-time.Hour) }, heal: nothing, harmless: true},
		{name: "back-and-cut-off", strike: func(c *contender) { c.machine.jump(-time.Hour) }, heal: nothing, cut: true},
		// What is on its way when the machine is suspended is sent when it wakes up.
		{name: "suspended", cut: true,
			strike: func(c *contender) { c.hold(); c.machine.suspend() },
			heal:   func(c *contender) { c.machine.wake(); c.release() },
		},
	}
}

// testClocks has contenders with clocks of their own, which are the shipped
// elector, gate and terms in this process, write to real API servers all the
// time, while the leader's clocks jump. Each fault has a Lease of its own, so that
// they can strike beside each other.
func (e *environment) testClocks(t *testing.T, round int, random *rand.Rand) {
	for i, fault := range clockFaults() {
		// Every step in turn, at each fault.
		step := []string{between, sending, answered}[(round+i)%3]
		wait := time.Duration(random.Int64N(int64(time.Second)))
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			e.testClock(t, fault, step, wait)
		})
	}
}

func (e *environment) testClock(t *testing.T, fault clockFault, step string, wait time.Duration) {
	c := e.contend(t, fmt.Sprintf("clock-%s-%d", fault.name, time.Now().UnixNano()))
	leader, epoch := c.awaitWriter(t, 0)
	pause(t, wait)
	leader.way.strikeAt(t, step, func() {
		fault.strike(leader)
		leader.way.setCut(fault.cut)
	})
	struck := time.Now()
	t.Logf("step=%q fault=%s", step, fault.name)
	if fault.harmless {
		pause(t, leaseDuration+time.Second)
		if now, err := leader.gate.Epoch(); now != epoch {
			t.Errorf("its epoch is %d, %v, want %d as before", now, err, epoch)
		}
	} else {
		next, _ := c.awaitWriter(t, epoch)
		t.Logf("%s writes %.2f s later", next.identity, time.Since(struck).Seconds())
		if fault.cut && next == leader {
			t.Errorf("%s still leads", leader.identity)
		}
		fault.heal(leader)
		leader.way.setCut(false)
	}
	c.expectRecovered(t, leader)
	c.stop(t)
	e.expectNothingStaleOf(t, c)
}

// expectRecovered ends the others, so that the one whose clocks jumped has to
// lead, in the process that it is.
func (c *contest) expectRecovered(t *testing.T, struck *contender) {
	t.Helper()
	var latest int64
	for _, contender := range c.contenders {
		if now, err := contender.gate.Epoch(); err == nil {
			latest = max(latest, now)
		}
		if contender != struck {
			contender.end()
			latest = max(latest, contender.lastEpoch())
		}
	}
	leads := func(context.Context) error {
		epoch, err := struck.gate.Epoch()
		if err == nil && epoch < latest {
			err = fmt.Errorf("its epoch is %d, after %d", epoch, latest)
		}
		return err
	}
	eventually(t, "the one that was struck leads when it is alone", takeoverLimit, leads)
}

// expectNothingStaleOf reads the audit logs for what the contenders wrote.
func (e *environment) expectNothingStaleOf(t *testing.T, c *contest) {
	t.Helper()
	agent := regexp.MustCompile(`^` + regexp.QuoteMeta(c.name) + `/(\S+) \(epoch (\d+)\)`)
	all, count := e.writes(t, agent), 0
	for _, server := range []string{e.fleet.Host.Name(), "cluster1"} {
		count += len(all[server])
		if len(all[server]) == 0 {
			t.Errorf("no contender's write is in the audit log of %s", server)
		}
		for _, problem := range stale(all[server], c.history.all()) {
			t.Errorf("stale: %s", problem)
		}
	}
	t.Logf("%d writes of contenders, %d times one of them got the lease", count, len(c.history.all()))
}

// contest is contenders for a Lease of their own.
type contest struct {
	name       string
	history    *history
	contenders []*contender
	running    errgroup.Group
}

// awaitWriter waits until a contender has written in a later term than after.
func (c *contest) awaitWriter(t *testing.T, after int64) (writer *contender, epoch int64) {
	t.Helper()
	eventually(t, "a contender writes", takeoverLimit, func(context.Context) error {
		for _, contender := range c.contenders {
			if last := contender.lastEpoch(); last > after {
				writer, epoch = contender, last
				return nil
			}
		}
		return errors.New("nobody does")
	})
	return writer, epoch
}

// stop ends all contenders, none of which may have ended before, and waits.
func (c *contest) stop(t *testing.T) {
	t.Helper()
	for _, contender := range c.contenders {
		contender.end()
		contender.release()
	}
	if err := c.running.Wait(); err != nil {
		t.Error(err)
	}
	c.history.stop()
}
