// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience reads how long the kernel waits for an acknowledgement.
func patience(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	raw, err := c.(*conn).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	var failed error
	if err := raw.Control(func(fd uintptr) { ms, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return time.Duration(ms) * time.Millisecond
}

func sendByte(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

// TestTheKernelGivesUpBeforeTheDeadline: whatever the lease's state at a write, data of it is not sent
// again when the deadline has passed.
func TestTheKernelGivesUpBeforeTheDeadline(t *testing.T) {
	clocks := newClocks()
	g := NewGate(GateOptions{Leased: true, Clock: clocks})
	g.Extend(g.Now().Add(4 * time.Second))
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	near, _ := pair(t, g, 1)
	for _, step := range []struct {
		name          string
		passed, lease time.Duration
		least, most   time.Duration
	}{
		{"at first", 0, 0, 2 * time.Second, 4 * time.Second},
		{"nothing is renewed", 3500 * time.Millisecond, 0, 250 * time.Millisecond, 500 * time.Millisecond},
		{"almost over", 499 * time.Millisecond, 0, time.Millisecond, time.Millisecond},
		{"renewed", 0, 4 * time.Second, 2 * time.Second, 4 * time.Second},
	} {
		clocks.advance(step.passed, step.passed)
		if step.lease > 0 {
			g.Extend(g.Now().Add(step.lease))
		}
		sendByte(t, near)
		if got := patience(t, near); got < step.least || got > step.most {
			t.Errorf("%s: the kernel waits for %s, want %s to %s", step.name, got, step.least, step.most)
		}
	}
	steady := patience(t, near)
	for range 20 { // as a leader that renews every half second
		clocks.advance(500*time.Millisecond, 500*time.Millisecond)
		sendByte(t, near)
		g.Extend(g.Now().Add(4 * time.Second))
		if got := patience(t, near); got != steady {
			t.Fatalf("the lease is renewed in time, and the limit changes from %s to %s", steady, got)
		}
	}
}

func TestALoneServerHasNoLimit(t *testing.T) {
	near, _ := pair(t, openGate(t), 1)
	sendByte(t, near)
	if got := patience(t, near); got != 0 {
		t.Errorf("the kernel gives up after %s", got)
	}
}

// TestWhatIsInTheBufferIsDropped: nobody takes what was written, and nobody writes more; who reads
// later does not get it.
func TestWhatIsInTheBufferIsDropped(t *testing.T) {
	clocks := newClocks() // stands still, as for a process that was stopped
	g := NewGate(GateOptions{Leased: true, Clock: clocks})
	g.Extend(g.Now().Add(time.Second))
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	near, far := pair(t, g, 1)
	if err := far.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	n, err := near.Write(make([]byte, 64<<20)) // more than the sockets hold
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Fatalf("wrote %d bytes: %v, want the kernel to have given up", n, err)
	}
	received, err := io.Copy(io.Discard, far)
	if received >= int64(n) || err == nil {
		t.Errorf("%d bytes of %d arrived, %v, want the connection's loss", received, n, err)
	}
}
