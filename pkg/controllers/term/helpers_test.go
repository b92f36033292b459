// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// clocks are two clocks that the test moves.
type clocks struct {
	mu  sync.Mutex
	now Instant
}

func newClocks() *clocks {
	return &clocks{now: Instant{Monotonic: time.Hour, Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
}

func (c *clocks) Now() Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clocks) advance(monotonic, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Monotonic += monotonic
	c.now.Wall = c.now.Wall.Add(wall)
}

// server is a transport that answers as the test says.
type server struct {
	mu      sync.Mutex
	arrived []string // "METHOD path"
	answer  func(*http.Request) (*http.Response, error)
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.arrived = append(s.arrived, req.Method+" "+req.URL.Path)
	s.mu.Unlock()
	if s.answer != nil {
		return s.answer(req)
	}
	return ok(""), nil
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.arrived...)
}

func ok(body string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}
}

func newRequest(t testing.TB, method, target string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://server"+target, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// openGate is a gate of a lone server that is open.
func openGate(t testing.TB) *Gate {
	t.Helper()
	g := NewGate(GateOptions{})
	if err := g.Open(1); err != nil {
		t.Fatal(err)
	}
	return g
}

const configMaps = "/api/v1/namespaces/ns/configmaps"

// send sends a write through the gate and returns its error.
func send(t testing.TB, transport http.RoundTripper) error {
	t.Helper()
	resp, err := transport.RoundTrip(newRequest(t, http.MethodPost, configMaps))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}
