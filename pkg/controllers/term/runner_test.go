// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"
)

// starter is a term's controllers as a function.
type starter func(context.Context) error

func (s starter) Start(ctx context.Context) error { return s(ctx) }

// untilEnd is controllers that do nothing until their end.
func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// epochs is a counter as etcd has it.
type epochs struct {
	mu   sync.Mutex
	last int64
}

func (e *epochs) raise(context.Context) (int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	return e.last, nil
}

// newTestRunner returns a runner whose terms run start.
func newTestRunner(gate *Gate, start func(ctx context.Context, term Term) error) *Runner {
	return NewRunner(RunnerOptions{
		Gate:       gate,
		RaiseEpoch: new(epochs).raise,
		NewTerm: func(_ context.Context, term Term) (Starter, error) {
			return starter(func(ctx context.Context) error { return start(ctx, term) }), nil
		},
	})
}

// running is Run or RunTerm in a goroutine.
type running struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func start(t *testing.T, run func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{}))
	r := &running{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = run(ctx)
	}()
	return r
}

func (r *running) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

func TestATermHasAnEpochAndAnOpenGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{})
		var seen []int64
		r := newTestRunner(g, func(ctx context.Context, term Term) error {
			epoch, err := g.Epoch()
			if err != nil || epoch != term.Epoch {
				t.Errorf("the gate's epoch is %d, %v, the term's %d", epoch, err, term.Epoch)
			}
			seen = append(seen, term.Epoch)
			return untilEnd(ctx)
		})
		for range 3 {
			running := start(t, r.RunTerm)
			synctest.Wait()
			if err := running.stop(); err != nil {
				t.Error(err)
			}
			if _, err := g.Epoch(); !errors.Is(err, ErrClosed) {
				t.Errorf("after the term the gate's epoch is %v, want ErrClosed", err)
			}
		}
		if want := []int64{1, 2, 3}; !slices.Equal(seen, want) {
			t.Errorf("epochs %v, want %v", seen, want)
		}
	})
}

// TestTheGateClosesBeforeContextsAreCancelled holds the gate so that it cannot close: until it has, no
// context may end.
func TestTheGateClosesBeforeContextsAreCancelled(t *testing.T) {
	g := NewGate(GateOptions{})
	started, ended := make(chan struct{}), make(chan struct{})
	r := newTestRunner(g, func(ctx context.Context, _ Term) error {
		close(started)
		<-ctx.Done()
		close(ended)
		return ctx.Err() // as a manager that was cancelled may
	})
	running := start(t, r.RunTerm)
	<-started
	g.mu.Lock()
	running.cancel()
	select {
	case <-ended:
		t.Error("the context ended while the gate was open")
	case <-time.After(50 * time.Millisecond):
	}
	g.mu.Unlock()
	if err := running.stop(); err != nil {
		t.Errorf("RunTerm: %v at the end of its context", err)
	}
}

// TestATermIsOverWhenNothingIsInFlight: the controllers have returned, but something that they have
// started still writes.
func TestATermIsOverWhenNothingIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{})
		var writing sync.WaitGroup
		slow := g.Wrap(&server{answer: func(*http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second) // deaf to its context
			return ok(""), nil
		}})
		r := newTestRunner(g, func(ctx context.Context, _ Term) error {
			writing.Go(func() {
				if err := send(t, slow); err != nil {
					t.Error(err)
				}
			})
			return untilEnd(ctx)
		})
		running := start(t, r.RunTerm)
		synctest.Wait()
		began := time.Now()
		if err := running.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the term was over after %s, with a write in flight for 5s", took)
		}
		writing.Wait()
	})
}

func TestATermThatDoesNotDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		start func(release <-chan struct{}, through http.RoundTripper) func(context.Context, Term) error
		want  string
	}{
		"controllers hang": {
			func(release <-chan struct{}, _ http.RoundTripper) func(context.Context, Term) error {
				return func(context.Context, Term) error {
					<-release
					return nil
				}
			},
			"epoch 1: the term did not drain: its controllers still run after 30s",
		},
		"a write hangs": {
			func(_ <-chan struct{}, through http.RoundTripper) func(context.Context, Term) error {
				return func(ctx context.Context, _ Term) error {
					go func() {
						req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "https://server"+configMaps, nil)
						if err == nil {
							_, _ = through.RoundTrip(req)
						}
					}()
					return untilEnd(ctx)
				}
			},
			"epoch 1: the term did not drain: after 30s 1 writes are still in flight",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				g := NewGate(GateOptions{})
				through := g.Wrap(&server{answer: func(*http.Request) (*http.Response, error) {
					<-release
					return nil, io.EOF
				}})
				r := newTestRunner(g, tc.start(release, through))
				running := start(t, r.Run)
				synctest.Wait()
				began := time.Now()
				err := running.stop()
				if !errors.Is(err, ErrNotDrained) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want ErrNotDrained: %s", err, tc.want)
				}
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("given up after %s, want 30s", took)
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

func TestALostLeaseEndsTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{Leased: true})
		g.Extend(g.Now().Add(3 * time.Second))
		cancelled := false
		r := newTestRunner(g, func(ctx context.Context, _ Term) error {
			<-ctx.Done()
			cancelled = true
			return nil
		})
		began := time.Now()
		err := r.RunTerm(t.Context())
		if !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "the lease was lost") {
			t.Errorf("error %v, want that the lease was lost", err)
		}
		if took := time.Since(began); took != 3*time.Second || !cancelled {
			t.Errorf("ended after %s (want 3s), controllers cancelled: %v", took, cancelled)
		}
	})
}

func TestATermWithoutALeaseDoesNotBegin(t *testing.T) {
	r := newTestRunner(NewGate(GateOptions{Leased: true}), func(context.Context, Term) error {
		t.Error("controllers were started")
		return nil
	})
	if err := r.RunTerm(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestRunGoesOnAfterATermThatFailed(t *testing.T) {
	crash := errors.New("crash")
	for name, tc := range map[string]struct {
		fail func(g *Gate) RunnerOptions
		want string
	}{
		"the epoch cannot be raised": {func(*Gate) RunnerOptions {
			return RunnerOptions{RaiseEpoch: func(context.Context) (int64, error) { return 0, crash }}
		}, "raise the epoch: crash"},
		"controllers cannot be built": {func(*Gate) RunnerOptions {
			return RunnerOptions{NewTerm: func(context.Context, Term) (Starter, error) { return nil, crash }}
		}, "epoch 1: controllers: build the controllers: crash"},
		"controllers fail": {func(*Gate) RunnerOptions {
			return RunnerOptions{NewTerm: func(context.Context, Term) (Starter, error) {
				return starter(func(context.Context) error { return crash }), nil
			}}
		}, "epoch 1: controllers: crash"},
		"controllers stop": {func(*Gate) RunnerOptions {
			return RunnerOptions{NewTerm: func(context.Context, Term) (Starter, error) {
				return starter(func(context.Context) error { return nil }), nil
			}}
		}, "epoch 1: controllers stopped by themselves"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGate(GateOptions{})
			opts := tc.fail(g)
			opts.Gate = g
			if opts.RaiseEpoch == nil {
				opts.RaiseEpoch = new(epochs).raise
			}
			if err := NewRunner(opts).RunTerm(t.Context()); err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if _, err := g.Epoch(); !errors.Is(err, ErrClosed) {
				t.Errorf("the gate was left open: %v", err)
			}
		})
	}
}

func TestRunBacksOffWhileTermsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		lasts := map[int64]time.Duration{7: time.Minute}
		r := newTestRunner(NewGate(GateOptions{}), func(ctx context.Context, term Term) error {
			at = append(at, time.Since(began))
			sleep(ctx, lasts[term.Epoch])
			return errors.New("crash")
		})
		running := start(t, r.Run)
		time.Sleep(200 * time.Second)
		synctest.Wait()
		if err := running.stop(); err != nil {
			t.Errorf("Run: %v at the end of its context", err)
		}
		s := time.Second
		// The seventh lasts a minute, and the pauses begin anew.
		want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 122 * s, 124 * s, 128 * s, 136 * s, 152 * s, 182 * s}
		if !slices.Equal(at, want) {
			t.Errorf("terms began at %v, want %v", at, want)
		}
	})
}

func TestRunEndsInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRunner(NewGate(GateOptions{}), func(context.Context, Term) error { return errors.New("crash") })
		running := start(t, r.Run)
		synctest.Wait()
		began := time.Now()
		if err := running.stop(); err != nil || time.Since(began) > 0 {
			t.Errorf("Run: %v after %s", err, time.Since(began))
		}
	})
}

// TestBuildingATermCanBeInterrupted: it asks API servers, and one may not answer.
func TestBuildingATermCanBeInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerOptions{
			Gate:       NewGate(GateOptions{}),
			RaiseEpoch: new(epochs).raise,
			NewTerm: func(ctx context.Context, _ Term) (Starter, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		running := start(t, r.Run)
		synctest.Wait()
		if err := running.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestTermsLeaveNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		g := NewGate(GateOptions{})
		through := g.Wrap(&server{})
		terms := 0
		r := newTestRunner(g, func(ctx context.Context, _ Term) error {
			terms++
			if err := send(t, through); err != nil {
				t.Error(err)
			}
			sleep(ctx, time.Hour)
			return errors.New("crash")
		})
		running := start(t, r.Run)
		time.Sleep(100 * time.Hour)
		if err := running.stop(); err != nil {
			t.Error(err)
		}
		if terms < 99 {
			t.Errorf("%d terms in 100 hours", terms)
		}
	})
}
