// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package term makes sure that one replica's controllers write at a time.
//
// A term is one continuous leadership of one replica. It has an epoch, a
// number that only grows, and a controller manager of its own. Everything that
// a term writes through HTTP passes the Gate, in the transport, where nothing
// can forget to ask; what it writes to etcd directly compares the epoch.
//
// The gate closes by our own clocks, before a rival can hold the lease, and not
// because something noticed that the lease was lost. A term ends gate first:
// the gate closes, then contexts are cancelled, and the term is over when its
// manager has returned and no write is in flight any more.
//
// The Elector contends for a Lease in the host cluster, and runs one term after
// the other on what it wins. What it knows of the Lease it knows from its own
// observation: a rival's deadline, by the rival's clock, comes before the moment
// at which it opens its own gate, whatever somebody has written into the Lease.
package term

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

var (
	// ErrClosed says that a write was refused because this process has no term now.
	ErrClosed = errors.New("write refused: this replica is not leading")
	// ErrExpired says that a write was cut off because the term's lease ran out under it. Whether
	// it had an effect is unknown. It is an ErrClosed.
	ErrExpired = &expiredError{}
)

type expiredError struct{}

func (*expiredError) Error() string { return "write cut off: this replica's lease ran out" }
func (*expiredError) Unwrap() error { return ErrClosed }

// recheckPeriod is how often an open gate compares its deadline with the wall clock, which can
// jump. Writes compare on their own; this only cuts off those that are in flight.
const recheckPeriod = 250 * time.Millisecond

// GateOptions are what a gate can be told. The zero value is a gate for a lone server.
type GateOptions struct {
	// Leased gates are only as open as their deadline, which Extend moves, is in the future.
	// Others have none: a lone server has no rival.
	Leased bool
	// LeasePaths are URL paths of Lease objects, as in
	// /apis/coordination.k8s.io/v1/namespaces/NS/leases/NAME: writes to them pass a closed gate,
	// or nobody could become leader.
	LeasePaths []string
	// Clock is for tests. Default: SystemClock.
	Clock Clock
}

// Gate lets writes through while this replica leads. It is safe for concurrent use; a new gate is
// closed.
type Gate struct {
	leased bool
	exempt exemptions
	clock  Clock

	mu       sync.Mutex
	open     bool
	epoch    int64
	deadline Instant
	expired  chan struct{} // closed when the gate is not open
	timer    *time.Timer   // runs while a deadline can pass under an open gate or a write
	over     bool          // nothing of the term may be sent any more, not even the rest of a write

	writes map[*write]struct{} // in flight
	idle   chan struct{}       // closed when there is none; nil while nobody waits

	conns map[*conn]struct{} // that the term has dialled
}

// NewGate returns a closed gate.
func NewGate(opts GateOptions) *Gate {
	expired := make(chan struct{})
	close(expired)
	g := &Gate{
		leased:  opts.Leased,
		exempt:  newExemptions(opts.LeasePaths),
		clock:   opts.Clock,
		expired: expired,
		over:    true,
		writes:  map[*write]struct{}{},
		conns:   map[*conn]struct{}{},
	}
	if g.clock == nil {
		g.clock = SystemClock()
	}
	return g
}

// Now reads the gate's clock. An elector reads it before it sends a renewal, and extends the gate
// from that instant on when the renewal has succeeded.
func (g *Gate) Now() Instant { return g.clock.Now() }

// Open lets writes through for the term with this epoch. A leased gate needs a deadline for that
// (Extend), and stays closed, with ErrClosed, if it has passed.
func (g *Gate) Open(epoch int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	switch {
	case g.open:
		return fmt.Errorf("gate for epoch %d: it is open for epoch %d", epoch, g.epoch)
	case g.lapsed():
		return fmt.Errorf("gate for epoch %d: the lease has run out: %w", epoch, ErrClosed)
	}
	g.open, g.over = true, false
	g.epoch = epoch
	g.expired = make(chan struct{})
	g.arm()
	return nil
}

// Extend moves a leased gate's deadline to the given instant: the last one at which no rival can
// hold the lease, which is the sending of the last successful renewal plus the lease's duration
// less a margin. It neither opens a gate nor moves a deadline back.
func (g *Gate) Extend(until Instant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse() // a deadline that has passed has passed, also if nobody has noticed yet
	// Which renewal was the later one, only the monotonic clock can say. Its wall time replaces
	// the former one's even if it is earlier: then that clock was set back.
	if until.Monotonic > g.deadline.Monotonic {
		g.deadline = until
	}
	g.arm()
}

// Close refuses writes from now on. Those in flight go on: Idle waits for them, and a leased
// gate's deadline cuts them off.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut()
	g.arm()
}

// end closes the gate for good: the term is over, and with it its connections.
func (g *Gate) end() {
	for _, c := range g.finish() {
		_ = c.Conn.Close()
	}
}

func (g *Gate) finish() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut()
	g.over = true
	g.arm()
	conns := slices.Collect(maps.Keys(g.conns))
	clear(g.conns)
	return conns
}

// forfeit takes back what Extend allowed, because the lease is about to be released.
func (g *Gate) forfeit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = Instant{}
	g.lapse()
	g.arm()
}

// Epoch is the term's epoch, or ErrClosed while writes are refused. Writes that go to etcd and not
// through a transport compare it.
func (g *Gate) Epoch() (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	if !g.open {
		return 0, ErrClosed
	}
	return g.epoch, nil
}

// Expired returns a channel that is closed when the gate, as open as it is now, has closed, by
// Close or by its deadline. The channel of a closed gate is closed.
func (g *Gate) Expired() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	return g.expired
}

// Idle waits until no write is in flight: every one has been answered, and its response's body has
// been read to the end or closed.
func (g *Gate) Idle(ctx context.Context) error {
	for {
		idle, inFlight := g.idleChannel()
		if inFlight == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("%d writes are still in flight: %w", inFlight, context.Cause(ctx))
		}
	}
}

func (g *Gate) idleChannel() (idle <-chan struct{}, inFlight int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.writes) > 0 && g.idle == nil {
		g.idle = make(chan struct{})
	}
	return g.idle, len(g.writes)
}

// write is one write in flight.
type write struct{ cancel context.CancelCauseFunc }

// enter admits a write, whose context ends when the gate's deadline passes, or refuses it. The
// deadline is the gate's at that time: a lease that is renewed meanwhile leaves a slow write alone.
func (g *Gate) enter(ctx context.Context) (context.Context, *write, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	if !g.open {
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &write{cancel: cancel}
	g.writes[w] = struct{}{}
	return ctx, w, nil
}

// leave ends a write.
func (g *Gate) leave(w *write) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.cancel(nil)
	delete(g.writes, w)
	if len(g.writes) > 0 {
		return
	}
	if g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
	g.arm()
}

// lapsed says whether a deadline has passed, or was never set.
func (g *Gate) lapsed() bool {
	return g.leased && g.deadline.remaining(g.clock.Now()) <= 0
}

// lapse closes the gate and cuts off what is in flight, if the deadline has passed.
func (g *Gate) lapse() {
	if !g.lapsed() {
		return
	}
	g.shut()
	g.over = true
	for w := range g.writes {
		w.cancel(ErrExpired)
	}
}

func (g *Gate) shut() {
	if g.open {
		g.open = false
		close(g.expired)
	}
}

// arm sets the timer for the deadline, as long as there is something that it can end.
func (g *Gate) arm() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	if !g.leased || !g.open && len(g.writes) == 0 {
		return
	}
	if left := g.deadline.remaining(g.clock.Now()); left > 0 {
		g.timer = time.AfterFunc(min(left, recheckPeriod), g.recheck)
	}
}

func (g *Gate) recheck() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	g.arm()
}
