// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// watch is a running prober and what it reported.
type watch struct {
	*Prober
	clusters *Clusters
	source   *source

	mu      sync.Mutex
	reports map[Ref][]report
}

type report struct {
	at     time.Time
	health Health
}

// startProber runs a prober over a wire, in a synctest bubble, until the test
// ends.
func startProber(t *testing.T, w *wire, options Options) *watch {
	t.Helper()
	s := &source{}
	options.Credentials = s
	if w != nil {
		options.Dial = w.dial
	}
	watch := &watch{clusters: NewClusters(options), source: s, reports: map[Ref][]report{}}
	watch.Prober = NewProber(watch.clusters, func(ref Ref, _ types.UID, health Health) {
		watch.mu.Lock()
		defer watch.mu.Unlock()
		watch.reports[ref] = append(watch.reports[ref], report{time.Now(), health})
	}, ProberOptions{})
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
	done := make(chan error, 1)
	go func() { done <- watch.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		watch.clusters.mu.Lock()
		entries := watch.clusters.entries
		watch.clusters.mu.Unlock()
		for ref := range entries {
			watch.clusters.Forget(ref)
		}
		time.Sleep(10 * time.Minute) // virtual: what is idle ends
	})
	return watch
}

// add registers a cluster whose host is NAME.test.
func (w *watch) add(name string, known Health) Ref {
	r := ref(name)
	w.source.set(r, kubeconfig("https://"+name+".test", theAuthority().caPEM))
	w.Set(Target{Ref: r, Health: known})
	return r
}

// reported returns what was reported of a cluster.
func (w *watch) reported(ref Ref) []report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.reports[ref])
}

// until returns when a report of the cluster first met the condition, counted
// from the start, and fails the test if none does within the limit.
func (w *watch) until(t *testing.T, ref Ref, start time.Time, limit time.Duration, condition func(Health) bool) time.Duration {
	t.Helper()
	for {
		synctest.Wait()
		for _, r := range w.reported(ref) {
			if !r.at.Before(start) && condition(r.health) {
				return r.at.Sub(start)
			}
		}
		if time.Since(start) > limit {
			t.Fatalf("not within %s; reported: %v", limit, w.reported(ref))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func isDown(h Health) bool { return h.Down }

func isReady(h Health) bool { return h.Ready }

var wasReady = Health{Ready: true, EverReady: true, Credentials: "1", Version: "v1.37.0", ID: "uid-1"}

func TestProberReportsANewClusterAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		wire.host("a.test")
		w := startProber(t, wire, Options{})
		start := time.Now()
		a := w.add("a", Health{})
		if took := w.until(t, a, start, time.Second, isReady); took > 100*time.Millisecond {
			t.Errorf("ready after %s", took)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		// One report, whatever time passes: a status is written when it changes.
		if diff := cmp.Diff([]Health{wasReady}, healths(w.reported(a))); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func healths(reports []report) []Health {
	var all []Health
	for _, r := range reports {
		all = append(all, r.health)
	}
	return all
}

// Detection is bounded over all phases between probe and failure.
func TestProberDetectsWithinItsBounds(t *testing.T) {
	for name, test := range map[string]struct {
		fail func(*host)
		// atLeast guards against verdicts on thin evidence, atMost is the promise.
		atLeast, atMost time.Duration
		says            string
	}{
		// Its connection breaks, so that nobody waits until a probe is due: it
		// comes a second after the one before at the latest, then two retries.
		"dead process": {(*host).kill, 2 * time.Second, 3100 * time.Millisecond, "connection refused"},
		"black hole":   {(*host).vanish, 8 * time.Second, 13 * time.Second, "no answer from"},
		"hung process": {func(h *host) { h.api.change(func(a *api) { a.hang = true }) }, 8 * time.Second, 13 * time.Second, "no answer from"},
		"ill process": {func(h *host) {
			h.api.change(func(a *api) {
				a.readyz, a.body = http.StatusInternalServerError, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"
			})
		}, 2 * time.Second, 7 * time.Second, "/readyz answers 500 Internal Server Error: etcd"},
	} {
		t.Run(name, func(t *testing.T) {
			for phase := time.Duration(0); phase < 5*time.Second; phase += 487 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					wire := newWire(t)
					h := wire.host("a.test")
					w := startProber(t, wire, Options{})
					a := w.add("a", Health{})
					time.Sleep(20*time.Second + phase)
					start := time.Now()
					test.fail(h)
					took := w.until(t, a, start, test.atMost+time.Second, isDown)
					if took < test.atLeast || took > test.atMost {
						t.Errorf("at phase %s: down after %s, want %s to %s", phase, took, test.atLeast, test.atMost)
					}
					health, _ := w.Health(a)
					if !strings.Contains(health.Message, test.says) || health.Ready || !health.EverReady || health.Failures != 3 {
						t.Errorf("got %+v, want a message with %q", health, test.says)
					}
				})
			}
		})
	}
}

// Without the sign that a breaking connection gives, a dead process is found
// by the schedule alone; that is the 7 s.
func TestProberFindsDeathBySchedule(t *testing.T) {
	var slowest time.Duration
	for phase := time.Duration(0); phase < 5*time.Second; phase += 250 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			net := &fakeNet{}
			w := startProber(t, nil, Options{newTransport: net.transport})
			a := w.add("a", Health{})
			time.Sleep(20*time.Second + phase)
			start := time.Now()
			net.refuse()
			slowest = max(slowest, w.until(t, a, start, 7*time.Second, isDown))
		})
	}
	if slowest < 6500*time.Millisecond {
		t.Errorf("slowest is %s: the phases don't cover the period", slowest)
	}
}

// A middlebox that forgot a flow is no dead cluster: a new connection has to
// be tried before the verdict.
func TestProberSurvivesADroppedFlow(t *testing.T) {
	for phase := time.Duration(0); phase < 5*time.Second; phase += 970 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			wire := newWire(t)
			h := wire.host("a.test")
			w := startProber(t, wire, Options{})
			a := w.add("a", Health{})
			time.Sleep(20*time.Second + phase)
			h.dropFlows()
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, r := range w.reported(a) {
				if r.health.Down {
					t.Fatalf("at phase %s: a cluster that accepts connections was down: %v", phase, w.reported(a))
				}
			}
			if health, _ := w.Health(a); health != wasReady {
				t.Errorf("got %+v", health)
			}
		})
	}
}

func TestProberWaitsForAStableReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		a := w.add("a", Health{})
		time.Sleep(20 * time.Second)
		start := time.Now()
		h.kill()
		w.until(t, a, start, 7*time.Second, isDown)
		time.Sleep(time.Minute)
		start = time.Now()
		h.mend()
		took := w.until(t, a, start, 16*time.Second, isReady)
		if took < 10*time.Second || took > 15*time.Second+100*time.Millisecond {
			t.Errorf("ready again after %s, want 10 s to 15 s", took)
		}
	})
}

// A cluster that comes and goes faster than it recovers stays Down: one
// fail-over, not one for each flap.
func TestProberDampsFlapping(t *testing.T) {
	for _, half := range []time.Duration{4 * time.Second, 6 * time.Second, 9 * time.Second} {
		t.Run(half.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := newWire(t)
				h := wire.host("a.test")
				w := startProber(t, wire, Options{})
				a := w.add("a", Health{})
				time.Sleep(20 * time.Second)
				for range 20 {
					h.kill()
					time.Sleep(half)
					h.mend()
					time.Sleep(half)
				}
				synctest.Wait()
				changes, ready := 0, true
				for _, r := range w.reported(a)[1:] {
					if r.health.Ready != ready {
						ready = r.health.Ready
						changes++
					}
				}
				if changes != 1 || ready {
					t.Errorf("readiness changed %d times and is %v", changes, ready)
				}
			})
		})
	}
}
