// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// otherProcess runs for as long as the test does.
func otherProcess(t *testing.T) int {
	t.Helper()
	other := exec.CommandContext(t.Context(), "sleep", "3600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	return other.Process.Pid
}

func setFor(t *testing.T, p *Proxy, pid int, mode Mode) {
	t.Helper()
	if err := p.SetFor(pid, mode); err != nil {
		t.Fatal(err)
	}
}

// answers says whether a byte comes back before long.
func answers(t *testing.T, conn net.Conn) error {
	t.Helper()
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestProxyTreatsOneProcessApart(t *testing.T) {
	p := newTestProxy(t, echoServer(t).address())
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", p.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	before := dial()
	if err := answers(t, before); err != nil {
		t.Fatal(err)
	}
	other := otherProcess(t)
	for _, mode := range []Mode{Refuse, BlackHole} {
		setFor(t, p, other, mode)
		for name, conn := range map[string]net.Conn{"old": before, "new": dial()} {
			if err := answers(t, conn); err != nil {
				t.Errorf("%s for another process, an %s connection of this one: %v", mode, name, err)
			}
		}
	}
	setFor(t, p, other, Forward)

	setFor(t, p, os.Getpid(), BlackHole)
	for name, conn := range map[string]net.Conn{"old": before, "new": dial()} {
		if err := answers(t, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("blackhole for this process, an %s connection: %v", name, err)
		}
	}
	setFor(t, p, os.Getpid(), Forward)
	if err := before.SetReadDeadline(time.Now().Add(prompt)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(before, make([]byte, 1)); err != nil {
		t.Errorf("what was held back does not come: %v", err)
	}

	setFor(t, p, os.Getpid(), Refuse)
	isReset := func(err error) bool { return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) }
	if err := answers(t, before); !isReset(err) {
		t.Errorf("refuse for this process, an old connection: %v", err)
	}
	// The reset may come before the dial has returned.
	refused, err := net.Dial("tcp", p.Address())
	if err == nil {
		err = answers(t, refused)
		_ = refused.Close()
	}
	if !isReset(err) {
		t.Errorf("refuse for this process, a new connection: %v", err)
	}
	p.rejoin()
	if err := answers(t, dial()); err != nil {
		t.Errorf("after that: %v", err)
	}
}
