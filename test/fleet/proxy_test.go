// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// prompt is ample for anything on loopback that should happen, on a machine
	// that has much else to do.
	prompt = 30 * time.Second
	// silence is how long nothing must happen.
	silence = 100 * time.Millisecond
)

// echoServer answers every byte with itself and the end with the end.
func echoServer(t *testing.T) *port {
	t.Helper()
	p, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := p.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.release()
		running.Wait()
	})
	return p
}

func newTestProxy(t *testing.T, backend string) *Proxy {
	t.Helper()
	front, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(front, backend)
	t.Cleanup(func() {
		p.close()
		front.release()
	})
	set(t, p, Forward)
	return p
}

func set(t *testing.T, p *Proxy, mode Mode) {
	t.Helper()
	if err := p.Set(context.Background(), mode); err != nil {
		t.Fatal(err)
	}
	if got := p.Mode(); got != mode {
		t.Fatalf("mode is %q after it was set to %q", got, mode)
	}
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Address(), prompt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = conn.SetReadDeadline(time.Now().Add(prompt))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("waiting for %q: %v", want, err)
	}
	if string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func receiveNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	n, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes and %v, want silence", n, err)
	}
}

func receiveReset(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(prompt))
	_, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), prompt)
	defer cancel()
	err := poll(ctx, nil, func(context.Context) error {
		if condition() {
			return nil
		}
		return errors.New("not yet")
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestProxyForwards(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	conn := dial(t, p)
	send(t, conn, "one")
	receive(t, conn, "one")
	send(t, conn, "two")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(conn)
	if err != nil || string(rest) != "two" {
		t.Fatalf("after the client's end got %q and %v, want what was on its way and an end", rest, err)
	}
	await(t, "the proxy forgets a finished connection", func() bool { return p.Connections() == 0 })
}

func TestProxyRefuses(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	before := dial(t, p)
	send(t, before, "x")
	receive(t, before, "x")

	set(t, p, Refuse)
	receiveReset(t, before)
	if _, err := net.DialTimeout("tcp", p.Address(), prompt); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dialling got %v, want a refusal", err)
	}

	set(t, p, Forward)
	after := dial(t, p)
	send(t, after, "y")
	receive(t, after, "y")
}

func TestProxyBlackHoles(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	existing := dial(t, p)
	send(t, existing, "a")
	receive(t, existing, "a")

	set(t, p, BlackHole)
	fresh := dial(t, p)
	send(t, existing, "b")
	send(t, fresh, "c")
	receiveNothing(t, existing)
	receiveNothing(t, fresh)

	set(t, p, Forward)
	receive(t, existing, "b")
	receive(t, fresh, "c")
}

// A backend that dies while the network is gone is not noticed by anybody.
func TestProxyBlackHoleHidesTheBackendsEnd(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	conn := dial(t, p)
	send(t, conn, "x")
	receive(t, conn, "x")
	set(t, p, BlackHole)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	receiveNothing(t, conn)
	set(t, p, Forward)
	_ = conn.SetReadDeadline(time.Now().Add(prompt))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want the end", err)
	}
}

func TestProxyDelays(t *testing.T) {
	const delay = 50 * time.Millisecond
	p := newTestProxy(t, echoServer(t).address())
	conn := dial(t, p)
	p.Delay(delay)
	began := time.Now()
	send(t, conn, "x")
	receive(t, conn, "x")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("a round trip took %v, want at least %v", took, 2*delay)
	}
	p.Delay(time.Hour)
	send(t, conn, "y")
	receiveNothing(t, conn)
	p.Delay(0)
	receive(t, conn, "y")
}

func TestProxyCuts(t *testing.T) {
	for _, mode := range []Mode{Forward, BlackHole} {
		t.Run(string(mode), func(t *testing.T) {
			p := newTestProxy(t, echoServer(t).address())
			conn := dial(t, p)
			send(t, conn, "x")
			receive(t, conn, "x")
			set(t, p, mode)
			p.Cut()
			receiveReset(t, conn)
			set(t, p, Forward)
			after := dial(t, p)
			send(t, after, "y")
			receive(t, after, "y")
		})
	}
}

func TestProxyResetsWhatTheBackendRefuses(t *testing.T) {
	nobody, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.release()
	p := newTestProxy(t, nobody.address())
	conn, err := net.DialTimeout("tcp", p.Address(), prompt)
	if errors.Is(err, syscall.ECONNRESET) {
		return // so soon that dialling saw it
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	receiveReset(t, conn)
}

func TestProxyRefusesUnknownModes(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	if err := p.Set(t.Context(), "sideways"); err == nil {
		t.Error("an unknown mode was accepted")
	}
	if got := p.Mode(); got != Forward {
		t.Errorf("mode is %q after a refused change", got)
	}
}

func TestProxyEnds(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	stalled := dial(t, p)
	set(t, p, BlackHole)
	send(t, stalled, "x")
	p.close() // returns only when its goroutines have
	receiveReset(t, stalled)
	if err := p.Set(t.Context(), Forward); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Set on an ended proxy: %v", err)
	}
	if n := p.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// Whatever happens to a proxy and however its clients behave meanwhile, it
// forwards again when told to, and keeps nothing of what was reset.
func TestProxyRecoversFromAnyHistory(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					exchange(p.Address())
				}
			}
		})
	}
	for range 60 {
		switch n := rand.IntN(5); n {
		case 3:
			p.Cut()
		case 4:
			p.Delay(time.Duration(rand.IntN(3)) * time.Millisecond)
		default:
			set(t, p, Modes()[n])
		}
		exchange(p.Address())
	}
	close(stop)
	p.Delay(0)
	set(t, p, Refuse)
	clients.Wait()
	set(t, p, Forward)
	conn := dial(t, p)
	send(t, conn, "x")
	receive(t, conn, "x")
	_ = conn.Close()
	await(t, "the proxy forgets all connections", func() bool { return p.Connections() == 0 })
}

// exchange talks to an address for as long as it is answered, at most a
// moment.
func exchange(address string) {
	conn, err := net.DialTimeout("tcp", address, prompt)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
	buffer := make([]byte, 1)
	for range 3 {
		if _, err := conn.Write(buffer); err != nil {
			return
		}
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}
