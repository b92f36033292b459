// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

func TestLoneServersGateIsOpenUntilItIsClosed(t *testing.T) {
	g := NewGate(GateOptions{})
	through := g.Wrap(&server{})
	if _, err := g.Epoch(); !errors.Is(err, ErrClosed) {
		t.Errorf("a new gate's epoch: %v, want ErrClosed", err)
	}
	if !closed(g.Expired()) {
		t.Error("a new gate's Expired is not closed")
	}
	if err := g.Open(7); err != nil {
		t.Fatal(err)
	}
	expired := g.Expired()
	if epoch, err := g.Epoch(); err != nil || epoch != 7 {
		t.Errorf("epoch %d, %v, want 7", epoch, err)
	}
	if err := send(t, through); err != nil || closed(expired) {
		t.Errorf("a write through an open gate: %v", err)
	}
	if err := g.Open(8); err == nil {
		t.Error("an open gate was opened for another term")
	}
	g.Close()
	g.Close()
	if err := send(t, through); !errors.Is(err, ErrClosed) {
		t.Errorf("a write through a closed gate: %v, want ErrClosed", err)
	}
	if _, err := g.Epoch(); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed gate's epoch: %v, want ErrClosed", err)
	}
	if !closed(expired) {
		t.Error("Expired is not closed after Close")
	}
	if err := g.Open(8); err != nil || closed(g.Expired()) {
		t.Errorf("open for the next term: %v", err)
	}
}

func TestLeasedGateFollowsBothClocks(t *testing.T) {
	const lease = 5 * time.Second
	for name, tc := range map[string]struct {
		monotonic, wall time.Duration
		open            bool
	}{
		"just before":                   {lease - 1, lease - 1, true},
		"at the deadline":               {lease, lease, false},
		"monotonic clock passes first":  {lease, 0, false},
		"the machine was suspended":     {time.Millisecond, lease, false},
		"wall clock was set back":       {lease - 1, -time.Hour, true},
		"wall clock was set back, late": {lease, -time.Hour, false},
		"wall clock was set forward":    {0, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			clocks := newClocks()
			g := NewGate(GateOptions{Leased: true, Clock: clocks})
			g.Extend(g.Now().Add(lease))
			if err := g.Open(1); err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			clocks.advance(tc.monotonic, tc.wall)
			_, epochErr := g.Epoch()
			sendErr := send(t, g.Wrap(&server{}))
			for what, err := range map[string]error{"Epoch": epochErr, "a write": sendErr} {
				if tc.open && err != nil || !tc.open && !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v, want open: %v", what, err, tc.open)
				}
			}
			if closed(g.Expired()) == tc.open {
				t.Errorf("Expired is closed: %v", !tc.open)
			}
		})
	}
}

func TestLeasedGateNeedsALease(t *testing.T) {
	clocks := newClocks()
	g := NewGate(GateOptions{Leased: true, Clock: clocks})
	if err := g.Open(1); !errors.Is(err, ErrClosed) {
		t.Errorf("opened without a lease: %v", err)
	}
	g.Extend(g.Now().Add(time.Second))
	if _, err := g.Epoch(); !errors.Is(err, ErrClosed) {
		t.Errorf("Extend opened the gate: %v", err)
	}
	clocks.advance(time.Second, time.Second)
	if err := g.Open(1); !errors.Is(err, ErrClosed) {
		t.Errorf("opened with a lease that has run out: %v", err)
	}
}

func TestExtendMovesTheDeadlineForwardOnly(t *testing.T) {
	clocks := newClocks()
	g := NewGate(GateOptions{Leased: true, Clock: clocks})
	start := g.Now()
	g.Extend(start.Add(2 * time.Second))
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	g.Extend(start.Add(time.Second)) // the answer to an earlier renewal, which came late
	clocks.advance(1500*time.Millisecond, 1500*time.Millisecond)
	if _, err := g.Epoch(); err != nil {
		t.Errorf("the deadline was moved back: %v", err)
	}
	g.Extend(g.Now().Add(2 * time.Second))
	clocks.advance(1500*time.Millisecond, 1500*time.Millisecond)
	if _, err := g.Epoch(); err != nil {
		t.Errorf("the deadline was not moved forward: %v", err)
	}
}

func TestALeaseThatRanOutDoesNotComeBack(t *testing.T) {
	clocks := newClocks()
	g := NewGate(GateOptions{Leased: true, Clock: clocks})
	g.Extend(g.Now().Add(time.Second))
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	clocks.advance(2*time.Second, 2*time.Second)
	// Nobody has looked at the clocks since: the renewal comes first.
	g.Extend(g.Now().Add(time.Second))
	if _, err := g.Epoch(); !errors.Is(err, ErrClosed) {
		t.Errorf("the term went on: %v", err)
	}
	if err := g.Open(2); err != nil {
		t.Errorf("no new term: %v", err)
	}
}

// TestTheDeadlineCutsWritesOff: also those that were let through, and without anybody asking.
func TestTheDeadlineCutsWritesOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{Leased: true})
		g.Extend(g.Now().Add(3 * time.Second))
		if err := g.Open(1); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		hanging := &server{answer: func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		time.AfterFunc(2*time.Second, func() { g.Extend(g.Now().Add(3 * time.Second)) })
		err := send(t, g.Wrap(hanging))
		if !errors.Is(err, ErrExpired) || !errors.Is(err, ErrClosed) || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want ErrExpired", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("cut off after %s, want the extended deadline's 5s", took)
		}
		if !closed(g.Expired()) {
			t.Error("Expired is not closed")
		}
	})
}

// TestTheWallClockCutsWritesOff: the machine was suspended, and its monotonic clock stood still.
func TestTheWallClockCutsWritesOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clocks := newClocks()
		g := NewGate(GateOptions{Leased: true, Clock: clocks})
		g.Extend(g.Now().Add(time.Hour))
		if err := g.Open(1); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.AfterFunc(time.Second, func() { clocks.advance(0, time.Hour) })
		hanging := &server{answer: func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		if err := send(t, g.Wrap(hanging)); !errors.Is(err, ErrExpired) {
			t.Errorf("error %v, want ErrExpired", err)
		}
		if took := time.Since(start); took > time.Second+recheckPeriod {
			t.Errorf("cut off after %s, %s after the jump", took, took-time.Second)
		}
	})
}

func TestCloseLetsWritesInFlightEndUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{Leased: true})
		g.Extend(g.Now().Add(3 * time.Second))
		if err := g.Open(1); err != nil {
			t.Fatal(err)
		}
		slow := func(d time.Duration) *server {
			return &server{answer: func(req *http.Request) (*http.Response, error) {
				select {
				case <-time.After(d):
					return ok(""), nil
				case <-req.Context().Done():
					return nil, req.Context().Err()
				}
			}}
		}
		var working sync.WaitGroup
		working.Go(func() {
			if err := send(t, g.Wrap(slow(2*time.Second))); err != nil {
				t.Errorf("a write that ends before the deadline: %v", err)
			}
		})
		working.Go(func() {
			if err := send(t, g.Wrap(slow(4*time.Second))); !errors.Is(err, ErrExpired) {
				t.Errorf("a write that would end after the deadline: %v, want ErrExpired", err)
			}
		})
		synctest.Wait()
		g.Close()
		start := time.Now()
		if err := g.Idle(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("idle after %s, want 3s", took)
		}
		working.Wait()
	})
}

func TestAWritesOwnDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hanging := &server{answer: func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		_, err := g.Wrap(hanging).RoundTrip(newRequest(t, http.MethodPost, configMaps).WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want its own deadline's", err)
		}
	})
}

func TestTheTransportBeneathCanBeFound(t *testing.T) {
	next := &http.Transport{}
	wrapped, ok := NewGate(GateOptions{}).Wrap(next).(utilnet.RoundTripperWrapper)
	if !ok || wrapped.WrappedRoundTripper() != next {
		t.Error("WrappedRoundTripper does not lead to the transport beneath")
	}
}

// TestNothingPassesAfterClose sends from many goroutines while the gate closes. Whatever arrives at the
// server has been let through before Close returned, and is waited for by Idle.
func TestNothingPassesAfterClose(t *testing.T) {
	for range 50 {
		g := openGate(t)
		var mu sync.Mutex
		var done bool
		behind := &server{answer: func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if done {
				t.Error("a write arrived after the gate was closed and idle")
			}
			return ok(""), nil
		}}
		through := g.Wrap(behind)
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for send(t, through) == nil {
				}
			})
		}
		g.Close()
		if err := g.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		done = true
		mu.Unlock()
		writers.Wait()
	}
}

func TestAClosedGateHasNoTimer(t *testing.T) {
	g := NewGate(GateOptions{Leased: true})
	g.Extend(g.Now().Add(time.Hour))
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	if err := send(t, g.Wrap(&server{})); err != nil {
		t.Fatal(err)
	}
	g.Close()
	if g.timer != nil {
		t.Error("a gate that is closed and idle still has a timer")
	}
}
