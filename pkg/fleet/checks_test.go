// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// saying are checks that say what they are told to.
type saying struct {
	mu      sync.Mutex
	verdict Verdict
	hang    bool
	asked   []bool // whether the cluster was ready
}

func (s *saying) say(state CheckState, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdict = Verdict{state, message}
}

func (s *saying) Run(ctx context.Context, client *Client, ready bool) Verdict {
	s.mu.Lock()
	verdict, hang := s.verdict, s.hang
	s.asked = append(s.asked, ready)
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return Verdict{ChecksUndecided, "it took too long"}
	}
	return verdict
}

func TestFailingChecksMakeAClusterNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t)
		w.host("a.test")
		watch := startProber(t, w, Options{})
		r := ref("a")
		watch.source.set(r, kubeconfig("https://a.test", theAuthority().caPEM))
		checks := &saying{verdict: Verdict{ChecksFailed, "readiness check c failed: not yet"}}
		start := time.Now()
		watch.Set(Target{Ref: r, Checks: checks})
		watch.until(t, r, start, 10*time.Second, func(h Health) bool {
			return h.Down && !h.Ready && h.Checks == ChecksFailed && h.Message == "readiness check c failed: not yet"
		})

		checks.say(ChecksPassed, "")
		passed := time.Now()
		watch.until(t, r, passed, 6*time.Second, func(h Health) bool { return h.Ready && h.Checks == ChecksPassed })

		// Three failures, each a second after the one before.
		checks.say(ChecksFailed, "liveness check d failed: ill")
		failed := time.Now()
		if took := watch.until(t, r, failed, 8*time.Second, func(h Health) bool { return h.Down }); took < 2*time.Second {
			t.Errorf("one failure made it Down, after %s", took)
		}
		// What proves nothing moves nothing.
		checks.say(ChecksUndecided, "liveness check d could not be run: x")
		time.Sleep(time.Minute)
		if h, _ := watch.Health(r); !h.Down || h.Checks != ChecksUndecided {
			t.Errorf("a check that could not be run made it %+v", h)
		}
		checks.say(ChecksPassed, "")
		back := time.Now()
		if took := watch.until(t, r, back, 20*time.Second, func(h Health) bool { return h.Ready }); took < 10*time.Second {
			t.Errorf("ready again after %s, want 10s at least", took)
		}
		checks.say(ChecksUndecided, "liveness check d could not be run: x")
		time.Sleep(time.Minute)
		if h, _ := watch.Health(r); !h.Ready || h.Message != "liveness check d could not be run: x" {
			t.Errorf("a check that could not be run made it %+v", h)
		}
		if first, last := checks.asked[0], checks.asked[len(checks.asked)-1]; first || !last {
			t.Errorf("the checks were told that the cluster is ready: first %t, last %t", first, last)
		}
	})
}

// Checks that hang cost their own cluster's goroutine, for a limited time, and the
// cluster's death is seen all the same.
func TestChecksThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t)
		a := w.host("a.test")
		w.host("b.test")
		watch := startProber(t, w, Options{})
		r := ref("a")
		watch.source.set(r, kubeconfig("https://a.test", theAuthority().caPEM))
		start := time.Now()
		watch.Set(Target{Ref: r, Health: Health{Ready: true, EverReady: true}, Checks: &saying{hang: true}})
		b := watch.add("b", Health{})
		watch.until(t, b, start, time.Second, func(h Health) bool { return h.Ready })
		watch.until(t, r, start, 15*time.Second, func(h Health) bool { return h.Ready && h.Checks == ChecksUndecided })
		a.condition.Store(int32(refusing))
		a.cut()
		watch.until(t, r, time.Now(), 20*time.Second, func(h Health) bool { return h.Down })
	})
}
