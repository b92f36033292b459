// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/klog/v2"
)

// trouble is what happens to a replica's requests for the Lease.
type trouble int

const (
	none       trouble = iota
	refused            // they fail at once
	swallowed          // they do not arrive, and are not answered
	unanswered         // they arrive, and are not answered
	late               // they arrive when the replica has given up waiting
	stopped            // they wait until the trouble is over, whatever their context says
)

// link is one replica's way to the host, and its process.
type link struct {
	coordinationclient.LeaseInterface
	host      *host
	unwatched bool // watches are forbidden

	mu      sync.Mutex
	trouble trouble
	over    chan struct{} // closed when the trouble is
}

func newLink(h *host) *link { return &link{host: h, over: make(chan struct{})} }

func (l *link) set(t trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.over)
	l.trouble, l.over = t, make(chan struct{})
}

func (l *link) now() (trouble, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble, l.over
}

func (l *link) Leases(string) coordinationclient.LeaseInterface { return l }

func (l *link) Get(ctx context.Context, _ string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return l.request(ctx, l.host.get)
}

func (l *link) Create(ctx context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return l.request(ctx, func() (*coordinationv1.Lease, error) { return l.host.put(lease, true) })
}

func (l *link) Update(ctx context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return l.request(ctx, func() (*coordinationv1.Lease, error) { return l.host.put(lease, false) })
}

// request sends a request, which takes some time in each direction.
func (l *link) request(ctx context.Context, arrive func() (*coordinationv1.Lease, error)) (*coordinationv1.Lease, error) {
	const latency = 5 * time.Millisecond
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	time.Sleep(latency)
	switch now, over := l.now(); now {
	case refused:
		return nil, errors.New("connection refused")
	case swallowed:
		<-ctx.Done()
		return nil, ctx.Err()
	case unanswered:
		_, _ = arrive()
		<-ctx.Done()
		return nil, ctx.Err()
	case late:
		<-ctx.Done()
		time.AfterFunc(700*time.Millisecond, func() { _, _ = arrive() })
		return nil, ctx.Err()
	case stopped:
		<-over
	}
	lease, err := arrive()
	if now, over := l.now(); now == stopped {
		<-over
	}
	time.Sleep(latency)
	return lease, err
}

// clock is a replica's clocks: they follow the test's time at a speed of their own, and the wall clock
// can be set.
type clock struct {
	start time.Time
	speed float64

	mu     sync.Mutex
	wall   time.Duration // that it is ahead
	asleep *Instant      // what both clocks say while the machine is suspended
	slept  time.Duration // that the monotonic clock stood still
}

func (c *clock) Now() Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *clock) nowLocked() Instant {
	if c.asleep != nil {
		return *c.asleep
	}
	passed := time.Duration(float64(time.Since(c.start)) * c.speed)
	return Instant{Monotonic: time.Hour + passed - c.slept, Wall: c.start.Add(passed + c.wall)}
}

// suspended says whether the machine is: nothing of it runs.
func (c *clock) suspended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asleep != nil
}

// suspend stops the machine's clocks, and what of the process looks at them.
func (c *clock) suspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.nowLocked()
	c.asleep = &now
}

// wake sets the wall clock right. The monotonic one goes on where it stood.
func (c *clock) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := *c.asleep
	c.asleep = nil
	c.slept += c.nowLocked().Monotonic - before.Monotonic
}

func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += d
}

// cluster is replicas that contend for one host's Lease.
type cluster struct {
	t      *testing.T
	host   *host
	epochs epochs

	mu       sync.Mutex
	replicas []*replica
}

func newCluster(t *testing.T) *cluster { return &cluster{t: t, host: &host{}} }

// replica is one process.
type replica struct {
	*running
	name  string
	gate  *Gate
	link  *link
	clock *clock

	crash chan error // ends the controllers

	mu    sync.Mutex
	raise error                           // what raising the epoch fails with
	work  func(context.Context, *replica) // what the controllers do; default: nothing
	terms []int64                         // epochs of its terms
}

type replicaOption func(*replica)

func working(work func(context.Context, *replica)) replicaOption {
	return func(r *replica) { r.work = work }
}

func atSpeed(speed float64) replicaOption { return func(r *replica) { r.clock.speed = speed } }

func failing(err error) replicaOption { return func(r *replica) { r.raise = err } }

// start starts a replica.
func (c *cluster) start(options ...replicaOption) *replica {
	c.mu.Lock()
	r := &replica{
		name:  fmt.Sprintf("replica-%d", len(c.replicas)),
		link:  newLink(c.host),
		clock: &clock{start: time.Now(), speed: 1},
		crash: make(chan error),
	}
	c.mu.Unlock()
	for _, option := range options {
		option(r)
	}
	r.gate = NewGate(GateOptions{Leased: true, Clock: r.clock})
	c.mu.Lock()
	c.replicas = append(c.replicas, r)
	c.mu.Unlock()
	runner := NewRunner(RunnerOptions{Gate: r.gate, RaiseEpoch: c.raiser(r), NewTerm: c.newTerm(r)})
	elector, err := NewElector(ElectorOptions{
		Leases: r.link, Namespace: "projectsveltos", Name: "muster", Identity: r.name,
		Gate: r.gate, Runner: runner, Timing: DefaultTiming(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	r.running = start(c.t, func(ctx context.Context) error {
		return elector.Run(klog.NewContext(ctx, klog.Logger{}))
	})
	return r
}

func (c *cluster) raiser(r *replica) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		r.mu.Lock()
		err := r.raise
		r.mu.Unlock()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			<-ctx.Done()
			return 0, ctx.Err()
		case err != nil:
			return 0, err
		}
		return c.epochs.raise(ctx)
	}
}

// newTerm is called when r's gate has just opened. Two gates are open at once exactly if, when one
// opens, another is.
func (c *cluster) newTerm(r *replica) NewTermFunc {
	return func(_ context.Context, term Term) (Starter, error) {
		if others := c.open(r); len(others) > 0 {
			c.t.Errorf("the gate of %s opens while that of %v is open", r.name, others)
		}
		r.mu.Lock()
		r.terms = append(r.terms, term.Epoch)
		r.mu.Unlock()
		return starter(func(ctx context.Context) error {
			if r.work != nil {
				r.work(ctx, r)
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case err := <-r.crash:
				return err
			}
		}), nil
	}
}

// open are the replicas whose gates are open, but for one.
func (c *cluster) open(but *replica) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var open []string
	for _, r := range c.replicas {
		if _, err := r.gate.Epoch(); r != but && err == nil && !r.clock.suspended() {
			open = append(open, r.name)
		}
	}
	return open
}

// leader waits until a replica's gate is open, and returns it and how long that took.
func (c *cluster) leader(limit time.Duration) (*replica, time.Duration) {
	c.t.Helper()
	began := time.Now()
	for time.Since(began) < limit {
		if open := c.open(nil); len(open) > 0 {
			for _, r := range c.replicas {
				if r.name == open[0] {
					return r, time.Since(began)
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("nobody leads after %s", limit)
	return nil, 0
}

// others are the replicas but for one.
func (c *cluster) others(but *replica) []*replica {
	var others []*replica
	for _, r := range c.replicas {
		if r != but {
			others = append(others, r)
		}
	}
	return others
}

// stopAll ends all replicas, whatever trouble they have.
func (c *cluster) stopAll() {
	for _, r := range c.replicas {
		r.link.set(none)
		if err := r.stop(); err != nil {
			c.t.Errorf("%s: %v", r.name, err)
		}
	}
}

// epochsOf is a copy of the epochs of the replica's terms.
func (r *replica) epochsOf() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int64(nil), r.terms...)
}

// hangingWrite sends a write that takes so long to be answered, and needs no context for it.
func hangingWrite(t *testing.T, r *replica, takes time.Duration) error {
	return send(t, r.gate.Wrap(&server{answer: func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(takes):
			return ok(""), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}}))
}
