// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	leaseDuration = 5 * time.Second
	renewPeriod   = 500 * time.Millisecond
	leaseMargin   = 500 * time.Millisecond
)

// world is a lease that one replica holds at a time, and an API that notes who writes.
type world struct {
	t      *testing.T
	epochs epochs

	mu     sync.Mutex
	holder string
	until  time.Time
	writes map[string]int
}

// acquire takes or renews the lease, if nobody else has it.
func (w *world) acquire(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder != name && time.Now().Before(w.until) {
		return false
	}
	w.holder, w.until = name, time.Now().Add(leaseDuration)
	return true
}

// wrote takes a write, which takes some time, and complains if another replica may write too.
func (w *world) wrote(name string, req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(300 * time.Millisecond):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder != name {
		w.t.Errorf("%s wrote while %s had the lease", name, w.holder)
	}
	w.writes[name]++
	return ok(""), nil
}

// takeWrites returns who has written how often since the last call.
func (w *world) takeWrites() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.writes
	w.writes = map[string]int{}
	return taken
}

// replica contends for the lease, but not while frozen says so, and writes as long as its gate lets it:
// its controllers notice nothing.
func (w *world) replica(name string, frozen func() bool) func(context.Context) error {
	g := NewGate(GateOptions{Leased: true})
	through := g.Wrap(&server{answer: func(req *http.Request) (*http.Response, error) { return w.wrote(name, req) }})
	r := NewRunner(RunnerOptions{
		Gate:       g,
		RaiseEpoch: w.epochs.raise,
		NewTerm: func(context.Context, Term) (Starter, error) {
			return starter(func(ctx context.Context) error {
				for ctx.Err() == nil {
					_ = send(w.t, through)
					sleep(ctx, 100*time.Millisecond)
				}
				return nil
			}), nil
		},
	})
	return func(ctx context.Context) error {
		var terms sync.WaitGroup
		defer terms.Wait()
		var over <-chan struct{} // of the last term
		for ; ctx.Err() == nil; sleep(ctx, renewPeriod) {
			sent := g.Now()
			if frozen() || !w.acquire(name) {
				continue
			}
			g.Extend(sent.Add(leaseDuration - leaseMargin))
			if over != nil && !closed(over) {
				continue
			}
			done := make(chan struct{})
			over = done
			terms.Go(func() {
				defer close(done)
				_ = r.RunTerm(ctx)
			})
		}
		return nil
	}
}

// TestRivalsNeverWriteAtOnce stops the leader from renewing its lease, but not from working, for longer
// than the lease lasts.
func TestRivalsNeverWriteAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, writes: map[string]int{}}
		began := time.Now()
		after := func(d time.Duration) { time.Sleep(time.Until(began.Add(d))) }
		first := start(t, w.replica("first", func() bool {
			at := time.Since(began)
			return at > 10*time.Second && at < 30*time.Second
		}))
		synctest.Wait()
		second := start(t, w.replica("second", func() bool { return false }))

		after(10 * time.Second)
		if got := w.takeWrites(); got["first"] == 0 || got["second"] > 0 {
			t.Errorf("at first writes were %v, want the first's alone", got)
		}
		after(20 * time.Second)
		if got := w.takeWrites(); got["second"] == 0 {
			t.Errorf("after the first had stopped renewing, writes were %v, want the second's", got)
		}
		after(time.Minute)
		if got := w.takeWrites(); got["first"] > 0 || got["second"] == 0 {
			t.Errorf("at last writes were %v, want the second's alone", got)
		}
		_ = second.stop()
		time.Sleep(time.Minute)
		if got := w.takeWrites(); got["first"] == 0 {
			t.Errorf("after the second had ended, writes were %v, want the first's", got)
		}
		_ = first.stop()
		if w.epochs.last != 3 {
			t.Errorf("%d terms, want 3", w.epochs.last)
		}
	})
}
