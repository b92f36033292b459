// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

var errTooManyFiles = &net.OpError{Op: "dial", Err: syscall.EMFILE}

// fakeNet stands for every cluster's transport: cheaper than a wire, and
// without the signs that connections give.
type fakeNet struct {
	status int   // of /readyz, if set
	err    error // of every request, if set

	mu       sync.Mutex
	refusing bool
	hanging  map[string]bool
	requests map[string][]time.Time // by host and path
}

func (n *fakeNet) transport(*connection) http.RoundTripper { return roundTripper(n.roundTrip) }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (n *fakeNet) roundTrip(req *http.Request) (*http.Response, error) {
	n.mu.Lock()
	if n.requests == nil {
		n.requests = map[string][]time.Time{}
	}
	key := req.URL.Host + req.URL.Path
	n.requests[key] = append(n.requests[key], time.Now())
	hangs, refuses := n.hanging[req.URL.Host], n.refusing
	n.mu.Unlock()
	switch {
	case n.err != nil:
		return nil, n.err
	case hangs:
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	case refuses:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	status, body := http.StatusOK, "ok"
	switch {
	case strings.HasPrefix(req.URL.Path, "/version"):
		body = `{"gitVersion":"v1.37.0"}`
	case strings.HasPrefix(req.URL.Path, "/api/v1/namespaces/"):
		body = `{"metadata":{"uid":"uid-1"}}`
	case n.status != 0:
		status = n.status
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

func (n *fakeNet) refuse() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refusing = true
}

func (n *fakeNet) hang(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hanging == nil {
		n.hanging = map[string]bool{}
	}
	n.hanging[host] = true
}

// reset forgets the requests so far.
func (n *fakeNet) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = nil
}

// asked returns when a path of a host was asked for.
func (n *fakeNet) asked(host, path string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]time.Time(nil), n.requests[host+path]...)
}
