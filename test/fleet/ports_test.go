// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func reserveForTest(t *testing.T) *port {
	t.Helper()
	p, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.release)
	return p
}

func TestReservedPortRefusesConnections(t *testing.T) {
	p := reserveForTest(t)
	if conn, err := net.Dial("tcp", p.address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dialling a reserved port got %v, %v", conn, err)
	}
}

func TestReservedPortIsNobodyElses(t *testing.T) {
	p := reserveForTest(t)
	if listener, err := net.Listen("tcp4", p.address()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("listening on another's port got %v, %v", listener, err)
	}
	seen := map[int]bool{p.number: true}
	for range 200 {
		other := reserveForTest(t)
		if seen[other.number] {
			t.Fatalf("port %d was reserved twice", other.number)
		}
		seen[other.number] = true
	}
}

// Somebody who does not share can have the port of a fleet that opens it, once.
func TestOpenPortIsServedByAnybody(t *testing.T) {
	p := reserveForTest(t)
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		listener, err := net.Listen("tcp4", p.address())
		if err != nil {
			t.Fatal(err)
		}
		if second, err := net.Listen("tcp4", p.address()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v, %v", second, err)
		}
		conn, err := net.Dial("tcp", p.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = listener.Close()
	}
	for range 200 {
		if other := reserveForTest(t); other.number == p.number {
			t.Fatal("it was reserved twice")
		}
	}
}

// A server that is killed and started again finds its port, and in between
// nobody answers.
func TestReservedPortIsServedAgainAndAgain(t *testing.T) {
	p := reserveForTest(t)
	for range 3 {
		listener, err := p.listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", p.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = listener.Close()
		if _, err := net.Dial("tcp", p.address()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dialling after the end got %v", err)
		}
	}
}
