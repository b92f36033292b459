// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestABrokenClusterFailsRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		a := w.add("a", Health{})
		time.Sleep(20 * time.Second)
		client := clientOf(t, w.clusters, Identity{})

		// A request elsewhere finds out, and triggers the probe.
		h.condition.Store(int32(refusing))
		h.cut()
		start := time.Now()
		if _, err := send(t.Context(), client, http.MethodPost, "/x", nil); err == nil {
			t.Error("a dead cluster answered")
		}
		w.until(t, a, start, 2500*time.Millisecond, isDown)

		dials := h.dialCount()
		for range 100 {
			body := &closeRecorder{Reader: strings.NewReader("{}")}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://a.test/x", body)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.HTTP.Do(req); !errors.Is(err, ErrUnreachable) || !body.closed {
				t.Fatalf("error %v, body closed %v", err, body.closed)
			}
		}
		if _, err := send(t.Context(), client, http.MethodGet, "/x?watch=true", nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a watch gave %v", err)
		}
		if got := h.dialCount() - dials; got != 0 || time.Since(start) > 3*time.Second {
			t.Errorf("%d connections were tried, in %s", got, time.Since(start))
		}

		// It passes requests again with the first probe that is answered, long
		// before the cluster is ready.
		h.mend()
		time.Sleep(6 * time.Second)
		if _, err := send(t.Context(), client, http.MethodGet, "/version", nil); err != nil {
			t.Errorf("after the return: %v", err)
		}
	})
}

type closeRecorder struct {
	io.Reader
	closed bool
}

func (c *closeRecorder) Close() error { c.closed = true; return nil }

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		expect := func(when string, want bool) {
			t.Helper()
			if b.rejects() == want {
				t.Errorf("%s: rejects %v", when, !want)
			}
			if got := b.allow(); got != want {
				t.Errorf("%s: allowed %v, want %v", when, got, want)
			}
		}
		expect("at first", true)
		b.timedOut()
		expect("after one timeout", true)
		b.answered()
		b.timedOut()
		expect("after an answer between two timeouts", true)
		b.timedOut()
		expect("after two timeouts", false)
		b.answered()
		expect("after an answer", true)
		b.unconnected()
		expect("after a failed connection", false)
		time.Sleep(breakerTrial - time.Millisecond)
		expect("before the trial", false)
		time.Sleep(time.Millisecond)
		expect("when nobody has failed for long", true)
		expect("beside the trial", false)
		time.Sleep(breakerTrial - time.Second)
		b.unconnected()
		time.Sleep(2 * time.Second)
		expect("while somebody keeps failing", false)
	})
}

// A cluster that hangs opens the breaker with the second probe that fails.
func TestAHungClusterFailsRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		a := w.add("a", Health{})
		time.Sleep(20 * time.Second)
		start := time.Now()
		h.api.change(func(a *api) { a.hang = true })
		w.until(t, a, start, 13*time.Second, isDown)
		start = time.Now()
		if _, err := send(t.Context(), clientOf(t, w.clusters, Identity{}), http.MethodGet, "/x", nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// While a cluster is Down its failing probes, which are signs of trouble like
// any other, must not trigger more of them.
func TestADownClusterIsProbedByScheduleOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		a := w.add("a", Health{})
		time.Sleep(20 * time.Second)
		start := time.Now()
		h.kill()
		w.until(t, a, start, 7*time.Second, isDown)
		dials := h.dialCount()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.dialCount() - dials; got < 11 || got > 13 {
			t.Errorf("%d connections were tried in a minute, want one each 5 s", got)
		}
	})
}

// Who waits for a slot while the cluster is lost is not sent to it.
func TestTheBreakerIsAskedAgainAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stalled{released: make(chan struct{})}
		clusters, _ := newClients(t, nil, Options{InFlight: 1, newTransport: s.transport})
		client := clientOf(t, clusters, Identity{})
		first, second := make(chan error), make(chan error)
		ctx, giveUp := context.WithCancel(t.Context())
		go func() { _, err := send(ctx, client, http.MethodPost, "/1", nil); first <- err }()
		synctest.Wait()
		go func() { _, err := send(t.Context(), client, http.MethodPost, "/2", nil); second <- err }()
		synctest.Wait()
		client.connection.breaker.unconnected()
		giveUp()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-second; !errors.Is(err, ErrUnreachable) || s.started.Load() != 1 {
			t.Errorf("the request that waited gave %v, %d were sent", err, s.started.Load())
		}
	})
}

// A request that breaks is a sign even if its connection gives none.
func TestABrokenRequestTriggersAProbe(t *testing.T) {
	for name, broken := range map[string]error{
		"reset":   fmt.Errorf("read: %w", syscall.ECONNRESET),
		"timeout": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &fakeNet{}
				w := startProber(t, nil, Options{newTransport: func(c *connection) http.RoundTripper {
					return roundTripper(func(req *http.Request) (*http.Response, error) {
						if req.URL.Path == "/x" {
							return nil, broken
						}
						return net.roundTrip(req)
					})
				}})
				w.add("a", wasReady)
				time.Sleep(21 * time.Second)
				net.reset()
				if _, err := send(t.Context(), clientOf(t, w.clusters, Identity{}), http.MethodPost, "/x", nil); !errors.Is(err, broken) {
					t.Fatal(err)
				}
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				if len(net.asked("a.test", "/readyz")) == 0 {
					t.Error("no probe followed")
				}
			})
		})
	}
}

// A connection whose packets vanish ends within seconds, without any deadline
// of the request's.
func TestBlackHolesEndConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		h.api.change(func(a *api) { a.extra = streaming(t) })
		clusters, _ := newClients(t, wire, Options{})
		client := clientOf(t, clusters, Identity{})
		resp, err := client.HTTP.Get("https://a.test/pods?watch=true")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		h.vanish()
		_, err = io.ReadAll(resp.Body)
		if took := time.Since(start); err == nil || took > silence+pingTimeout+time.Second {
			t.Errorf("the stream ended after %s: %v", took, err)
		}
		_ = resp.Body.Close()
	})
}

// streaming answers with headers and a byte each second.
func streaming(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for req.Context().Err() == nil {
			_, _ = w.Write([]byte("."))
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-req.Context().Done():
			case <-time.After(time.Second):
			}
		}
	})
}

// A watch that breaks is a sign, whatever the connection does.
func TestABrokenStreamTriggersAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		h.api.change(func(a *api) {
			a.extra = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Second)
				panic(http.ErrAbortHandler) // resets the stream, not the connection
			})
		})
		w.add("a", Health{})
		time.Sleep(21 * time.Second)
		client := clientOf(t, w.clusters, Identity{})
		resp, err := client.HTTP.Get("https://a.test/pods?watch=true")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Fatal("the stream ended well")
		}
		before := len(h.api.seen("/readyz"))
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := len(h.api.seen("/readyz")) - before; got < 1 {
			t.Error("no probe followed")
		}
	})
}

// A load balancer that closes every connection soon must not be probed without
// end.
func TestShortLivedConnectionsTriggerNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		w.add("a", Health{})
		time.Sleep(20 * time.Second)
		before := len(h.api.seen("/readyz"))
		for range 200 { // a minute
			probes := len(h.api.seen("/readyz"))
			time.Sleep(300 * time.Millisecond)
			if len(h.api.seen("/readyz")) == probes {
				h.cut() // while nobody asks anything
			}
		}
		synctest.Wait()
		if got := len(h.api.seen("/readyz")) - before; got > 25 {
			t.Errorf("%d probes in a minute", got)
		}
	})
}
