// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestProberKeepsVerdictsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		wire.host("a.test")
		wire.host("b.test").kill()
		w := startProber(t, wire, Options{})
		start := time.Now()
		a := w.add("a", Health{EverReady: true, Down: true, Failures: 3, Message: "gone"})
		b := w.add("b", wasReady)
		if health, ok := w.Health(a); !ok || !health.Down {
			t.Errorf("before any probe: %+v", health)
		}
		if took := w.until(t, a, start, 16*time.Second, isReady); took < 10*time.Second {
			t.Errorf("a restart made a Down cluster ready after %s", took)
		}
		w.until(t, b, start, 10*time.Second, isDown)
		if first := w.reported(b)[0].health; !first.Ready || first.Failures != 1 {
			t.Errorf("the first failure after a restart changed %+v to %+v", wasReady, first)
		}
	})
}

// Every hung cluster costs its own goroutines and nobody else's time.
func TestProberIsNotDelayedByHungClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: net.transport})
		for i := range 400 {
			name := fmt.Sprintf("hung-%d", i)
			net.hang(name + ".test")
			w.add(name, wasReady)
		}
		a := w.add("a", wasReady)
		time.Sleep(10 * time.Second)
		net.reset()
		time.Sleep(time.Minute)
		synctest.Wait()
		var latest time.Time
		for i, at := range net.asked("a.test", "/readyz") {
			if gap := at.Sub(latest); i > 0 && gap > 5*time.Second {
				t.Errorf("%s between two probes", gap)
			}
			latest = at
		}
		if n := len(net.asked("a.test", "/readyz")); n < 12 {
			t.Errorf("%d probes in a minute", n)
		}
		if got := w.reported(a); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
	})
}

// First probes, each with a TLS handshake, are spread; afterwards every target
// has its period.
func TestProberSpreadsThousands(t *testing.T) {
	const clusters = 1500
	for name, known := range map[string]Health{"restart": wasReady, "registered at once": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &fakeNet{}
				w := startProber(t, nil, Options{newTransport: net.transport})
				data := kubeconfig("https://shared.test", nil)
				start := time.Now()
				for i := range clusters {
					r := ref(fmt.Sprintf("c-%d", i))
					w.source.set(r, data)
					w.Set(Target{Ref: r, Health: known})
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				perSecond := map[int]int{}
				for _, at := range net.asked("shared.test", "/readyz") {
					perSecond[int(at.Sub(start)/time.Second)]++
				}
				total := 0
				for second := range 30 {
					n := perSecond[second]
					total += n
					// First probes are 500 each second, at most; later ones
					// come with the period.
					if most := clusters/5*2 + 500; n > most {
						t.Errorf("%d probes in second %d, want at most %d", n, second, most)
					}
				}
				if total < clusters*5 || total > clusters*8 {
					t.Errorf("%d probes in 30 s, want about %d", total, clusters*6)
				}
			})
		})
	}
}

func TestProbeNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: net.transport})
		a := w.add("a", Health{})
		time.Sleep(21 * time.Second)
		count := func() int { synctest.Wait(); return len(net.asked("a.test", "/readyz")) }

		before := count()
		w.ProbeNow(a)
		time.Sleep(time.Millisecond)
		if got := count() - before; got != 1 {
			t.Fatalf("%d probes at once, want 1", got)
		}
		before = count()
		for range 1000 {
			w.ProbeNow(a)
			time.Sleep(time.Millisecond)
		}
		if got := count() - before; got < 4 || got > 6 {
			t.Errorf("%d probes in a second of asking, want one each 200 ms", got)
		}

		// While failures are counted, asking must not hasten the verdict.
		start := time.Now()
		net.refuse()
		w.ProbeNow(a)
		for {
			synctest.Wait()
			if health, _ := w.Health(a); health.Down {
				break
			}
			w.ProbeNow(a)
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took < 2*time.Second {
			t.Errorf("down after %s of asking", took)
		}
		w.ProbeNow(ref("unknown"))
	})
}

// Asked during a probe, it looks once more after it.
func TestProbeNowDuringAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: func(*connection) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return net.roundTrip(req)
			})
		}})
		a := w.add("a", wasReady)
		asked := func() int { synctest.Wait(); return len(net.asked("a.test", "/readyz")) }
		for asked() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		for seen := asked(); asked() == seen; {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(4200 * time.Millisecond) // the next probe has begun
		w.ProbeNow(a)
		before := asked()
		time.Sleep(2 * time.Second)
		if got := asked() - before; got != 2 {
			t.Errorf("%d probes ended, want the one under way and another", got)
		}
	})
}

// Refused credentials amid failures don't hasten the probes for ever.
func TestProberDoesNotHurryToBeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		a := w.add("a", Health{})
		time.Sleep(20 * time.Second)
		h.api.change(func(a *api) { a.readyz = 500 })
		w.until(t, a, time.Now(), 6*time.Second, func(h Health) bool { return h.Failures == 1 })
		h.api.change(func(a *api) { a.readyz = 401 })
		time.Sleep(2 * time.Second)
		before := len(h.api.seen("/readyz"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(h.api.seen("/readyz")) - before; got < 11 || got > 13 {
			t.Errorf("%d probes in a minute, want one each 5 s", got)
		}
	})
}

// A registration that goes while its credentials are read leaves nothing.
func TestProberForgetsWhatAProbeBringsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: net.transport})
		w.source.onRead = func(context.Context, Ref) { time.Sleep(time.Second) }
		a := w.add("a", Health{})
		time.Sleep(500 * time.Millisecond)
		w.Remove(a)
		w.clusters.Forget(a)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.clusters.mu.Lock()
		defer w.clusters.mu.Unlock()
		if len(w.clusters.entries) != 0 {
			t.Error("its credentials are held")
		}
	})
}

func TestProberForgetsRemovedTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: net.transport})
		a := w.add("a", wasReady)
		time.Sleep(20 * time.Second)
		net.hang("a.test")
		net.reset()
		for len(net.asked("a.test", "/readyz")) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		w.Remove(a) // while a probe is under way
		w.clusters.Forget(a)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.reported(a); len(got) != 0 {
			t.Errorf("reported %v", got)
		}
		if _, ok := w.Health(a); ok {
			t.Error("it still has a health")
		}
		w.clusters.mu.Lock()
		defer w.clusters.mu.Unlock()
		if len(w.clusters.entries) != 0 {
			t.Error("its credentials are still held")
		}
	})
}

func TestProberSetTellsRegistrationsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: net.transport})
		a := w.add("a", wasReady)
		net.refuse()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if health, _ := w.Health(a); !health.Down {
			t.Fatalf("got %+v", health)
		}
		w.Set(Target{Ref: a, Health: wasReady})
		if health, _ := w.Health(a); !health.Down {
			t.Error("an older health replaced what the prober knows")
		}
		w.Set(Target{Ref: a, UID: "another"})
		if health, _ := w.Health(a); health != (Health{}) {
			t.Errorf("another registration has %+v from the one before", health)
		}
	})
}

func TestProberRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startProber(t, newWire(t), Options{})
		synctest.Wait()
		if err := NewProber(w.clusters, nil, ProberOptions{}).Run(t.Context()); !errors.Is(err, errProberRuns) {
			t.Errorf("a second prober of the same clusters: %v", err)
		}
	})
}

// A cluster without credentials costs the host few reads, and is probed at once
// when they come.
func TestProberRarelyLooksForMissingCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakeNet{}
		w := startProber(t, nil, Options{newTransport: net.transport})
		a := ref("a")
		w.Set(Target{Ref: a, Health: wasReady})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if reads := w.source.readsOf(a); reads < 5 || reads > 12 {
			t.Errorf("%d reads of the credentials in five minutes, want one each half minute", reads)
		}
		if health, _ := w.Health(a); !health.CredentialsInvalid || !health.Ready {
			t.Errorf("missing credentials made it %+v", health)
		}
		w.source.set(a, kubeconfig("https://a.test", nil))
		w.clusters.Forget(a)
		w.ProbeNow(a)
		time.Sleep(time.Second)
		synctest.Wait()
		if health, _ := w.Health(a); health.CredentialsInvalid {
			t.Errorf("a second after its credentials came: %+v", health)
		}
	})
}
