// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pair is a connection of a term, and its other end.
func pair(t *testing.T, g *Gate, epoch int64) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err = g.Dial(epoch, new(net.Dialer).DialContext)(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	if far, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}

// leasedGate is open with epoch 1, for an hour by its clocks.
func leasedGate(t *testing.T) (*Gate, *clocks) {
	t.Helper()
	clocks := newClocks()
	g := NewGate(GateOptions{Leased: true, Clock: clocks})
	g.Extend(g.Now().Add(time.Hour))
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	return g, clocks
}

func TestAConnectionSendsUntilTheDeadline(t *testing.T) {
	for name, jump := range map[string]struct{ monotonic, wall time.Duration }{
		"the process was stopped":   {time.Hour, time.Hour},
		"the machine was suspended": {time.Millisecond, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			g, clocks := leasedGate(t)
			near, far := pair(t, g, 1)
			if _, err := near.Write([]byte("before")); err != nil {
				t.Fatal(err)
			}
			clocks.advance(jump.monotonic, jump.wall)
			if n, err := near.Write([]byte("after")); !errors.Is(err, ErrClosed) || n > 0 {
				t.Errorf("past the deadline: %d bytes, %v, want ErrClosed", n, err)
			}
			// The lease is won again, and the connection is still the former term's.
			g.Extend(g.Now().Add(time.Hour))
			if _, err := near.Write([]byte("renewed")); !errors.Is(err, ErrClosed) {
				t.Errorf("with the lease won again: %v, want ErrClosed", err)
			}
			g.end()
			if err := g.Open(2); err != nil {
				t.Fatal(err)
			}
			if _, err := near.Write([]byte("next")); err == nil {
				t.Error("the next term's epoch lets the connection send")
			}
			if got, err := io.ReadAll(far); err != nil || string(got) != "before" {
				t.Errorf("received %q, %v, want what was sent before", got, err)
			}
		})
	}
}

func TestAConnectionOutlivesCloseAndNotItsTerm(t *testing.T) {
	g := openGate(t)
	near, far := pair(t, g, 1)
	g.Close()
	if _, err := near.Write([]byte("rest")); err != nil {
		t.Errorf("after Close, the rest of a write: %v", err)
	}
	g.end()
	if _, err := near.Write([]byte("more")); err == nil {
		t.Error("it sends after the term's end")
	}
	if got, err := io.ReadAll(far); err != nil || string(got) != "rest" {
		t.Errorf("received %q, %v, want the rest and the end", got, err)
	}
	if err := near.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestDialIsForOneTerm(t *testing.T) {
	g := NewGate(GateOptions{})
	dialled := 0
	dial := func(epoch int64) error {
		conn, err := g.Dial(epoch, func(context.Context, string, string) (net.Conn, error) {
			dialled++
			near, far := net.Pipe()
			return near, far.Close()
		})(t.Context(), "tcp", "server:443")
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := dial(0); !errors.Is(err, ErrClosed) {
		t.Errorf("before the first term: %v, want ErrClosed", err)
	}
	if err := g.Open(7); err != nil {
		t.Fatal(err)
	}
	if err := dial(6); !errors.Is(err, ErrClosed) {
		t.Errorf("for the term before: %v, want ErrClosed", err)
	}
	if err := dial(7); err != nil {
		t.Errorf("for the term: %v", err)
	}
	if dialled != 1 || len(g.conns) > 0 {
		t.Errorf("dialled %d times, and %d connections are held, want 1 and 0", dialled, len(g.conns))
	}
	refused := errors.New("refused")
	if _, err := g.Dial(7, func(context.Context, string, string) (net.Conn, error) { return nil, refused })(t.Context(), "", ""); !errors.Is(err, refused) {
		t.Errorf("where no connection can be made: %v", err)
	}
}

// TestATermThatEndsWhileDialling must not get a connection that nobody closes.
func TestATermThatEndsWhileDialling(t *testing.T) {
	g := openGate(t)
	near, far := net.Pipe()
	_, err := g.Dial(1, func(context.Context, string, string) (net.Conn, error) {
		g.end()
		return near, nil
	})(t.Context(), "", "")
	if !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
}

// TestAWriteThatWaitsForRoomIsCutOff: whoever reads after the deadline does not get the rest.
func TestAWriteThatWaitsForRoomIsCutOff(t *testing.T) {
	g, clocks := leasedGate(t)
	near, far := pair(t, g, 1)
	const size = 64 << 20 // more than the sockets hold
	wrote := make(chan error, 1)
	var sent atomic.Int64
	go func() {
		n, err := near.Write(make([]byte, size))
		sent.Store(int64(n))
		wrote <- err
	}()
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	clocks.advance(time.Hour, time.Hour)
	received := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, far)
		received <- n + 1
	}()
	if err := <-wrote; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	_ = near.Close()
	if got := <-received; got != sent.Load() || got == size {
		t.Errorf("received %d bytes of %d, and Write says %d", got, size, sent.Load())
	}
}

func TestAWriteToABrokenConnectionFails(t *testing.T) {
	g := openGate(t)
	near, far := pair(t, g, 1)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(deadline); {
		_, err = near.Write([]byte("x"))
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "write" || errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want a net.OpError", err)
	}
}

// TestNothingIsSentAfterAStop stops the process, so to speak, when a write has passed the gate and before
// it reaches the connection, for longer than the lease.
func TestNothingIsSentAfterAStop(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var writes atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				if req.Method != http.MethodGet {
					writes.Add(1)
				}
				if body, _ := io.ReadAll(req.Body); bytes.Contains(body, []byte("stale")) {
					t.Error("a body arrived")
				}
			}))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			t.Cleanup(srv.Close)
			g, clocks := leasedGate(t)
			inner := srv.Client().Transport.(*http.Transport)
			inner.DialContext = g.Dial(1, new(net.Dialer).DialContext)
			stop := func() {}
			client := &http.Client{Transport: g.Wrap(roundTripper(func(req *http.Request) (*http.Response, error) {
				stop()
				return inner.RoundTrip(req)
			}))}
			get := func() error {
				resp, err := client.Get(srv.URL)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.ProtoMajor == 2 != http2 {
					t.Errorf("the protocol is %s", resp.Proto)
				}
				_, err = io.Copy(io.Discard, resp.Body)
				return err
			}
			if err := get(); err != nil { // the connection is there
				t.Fatal(err)
			}
			stop = func() { clocks.advance(2*time.Hour, 2*time.Hour) }
			resp, err := client.Post(srv.URL, "text/plain", strings.NewReader("stale"))
			if err == nil {
				_ = resp.Body.Close()
			}
			if !errors.Is(err, ErrClosed) {
				t.Errorf("the write: %v, want ErrClosed", err)
			}
			if err := g.Idle(t.Context()); err != nil {
				t.Error(err)
			}
			stop = func() {}
			if err := get(); err == nil {
				t.Error("a read passes on a connection of a term that is over")
			}
			srv.Close() // waits for requests that arrived
			if writes.Load() > 0 {
				t.Error("the write arrived")
			}
		})
	}
}

// roundTripper is a transport as a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }
