// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
)

// condition is what stands between a client and a host of a wire.
type condition int32

const (
	serving condition = iota
	refusing
	blackhole
)

// wire is a network in memory, for tests in virtual time: hosts that serve
// TLS, can be killed, and can be cut off without anybody noticing.
type wire struct {
	t     *testing.T
	mu    sync.Mutex
	hosts map[string]*host
}

type host struct {
	api       *api
	condition atomic.Int32
	changed   chan struct{} // closed when a black hole ends
	accept    chan net.Conn
	server    *http.Server

	mu    sync.Mutex
	flows []*flow
	dials int
}

// flow is one connection, in two halves with a relay each way between them.
type flow struct {
	host            *host
	nearEnd, farEnd net.Conn
	// dropped swallows what is sent for good.
	dropped atomic.Bool
}

func newWire(t *testing.T) *wire { return &wire{t: t, hosts: map[string]*host{}} }

// host starts an API server under name, "x.test".
func (w *wire) host(name string) *host {
	h := &host{api: newAPI(), accept: make(chan net.Conn), changed: make(chan struct{})}
	h.server = &http.Server{
		Handler:   h.api,
		TLSConfig: newServerTLS(),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	w.mu.Lock()
	w.hosts[name+":443"] = h
	w.mu.Unlock()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.server.ServeTLS(h, "", "")
	}()
	w.t.Cleanup(func() {
		h.mend()
		_ = h.server.Close()
		h.cut()
		<-served
		synctest.Wait()
	})
	return h
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	h := w.hosts[address]
	w.mu.Unlock()
	failed := func(err error) error { return &net.OpError{Op: "dial", Net: network, Err: err} }
	if h == nil {
		return nil, failed(&net.DNSError{Err: "no such host", Name: address, IsNotFound: true})
	}
	h.mu.Lock()
	h.dials++
	h.mu.Unlock()
	switch condition(h.condition.Load()) {
	case refusing:
		return nil, failed(syscall.ECONNREFUSED)
	case blackhole:
		<-ctx.Done()
		return nil, failed(context.Cause(ctx))
	}
	near, nearEnd := net.Pipe()
	farEnd, far := net.Pipe()
	f := &flow{host: h, nearEnd: nearEnd, farEnd: farEnd}
	go f.relay(nearEnd, farEnd)
	go f.relay(farEnd, nearEnd)
	h.mu.Lock()
	h.flows = append(h.flows, f)
	h.mu.Unlock()
	select {
	case h.accept <- far:
		return near, nil
	case <-ctx.Done():
		_ = near.Close()
		_ = far.Close()
		return nil, failed(context.Cause(ctx))
	}
}

// relay copies like TCP does: the writer never waits for the reader, and what
// a black hole held back arrives when it ends.
func (f *flow) relay(from, to net.Conn) {
	var (
		mu      sync.Mutex
		arrived = sync.NewCond(&mu)
		buffer  []byte
		ended   bool
	)
	go func() {
		defer func() { _ = to.Close() }()
		for {
			mu.Lock()
			for len(buffer) == 0 && !ended {
				arrived.Wait()
			}
			chunk, last := buffer, ended
			buffer = nil
			mu.Unlock()
			f.host.pass()
			if len(chunk) > 0 && !f.dropped.Load() {
				if _, err := to.Write(chunk); err != nil {
					return
				}
			}
			if last {
				return
			}
		}
	}()
	chunk := make([]byte, 32<<10)
	for {
		n, err := from.Read(chunk)
		mu.Lock()
		buffer = append(buffer, chunk[:n]...)
		ended = err != nil
		arrived.Signal()
		mu.Unlock()
		if err != nil {
			_ = from.Close()
			return
		}
	}
}

// pass waits for a black hole to end.
func (h *host) pass() {
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		if condition(h.condition.Load()) != blackhole {
			return
		}
		<-changed
	}
}

// kill ends the host as SIGKILL does a process: its connections break at once
// and new ones are refused.
func (h *host) kill() {
	h.condition.Store(int32(refusing))
	h.cut()
}

// cut breaks all connections.
func (h *host) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.flows {
		_ = f.nearEnd.Close()
		_ = f.farEnd.Close()
	}
	h.flows = nil
}

// vanish makes all packets disappear.
func (h *host) vanish() { h.condition.Store(int32(blackhole)) }

// dropFlows makes the packets of the connections of today disappear, while
// new connections work: what a NAT does that forgot them.
func (h *host) dropFlows() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.flows {
		f.dropped.Store(true)
	}
}

// mend makes the network whole.
func (h *host) mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.condition.Store(int32(serving))
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *host) dialCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dials
}

// Accept, Close and Addr make host the listener of its server.
func (h *host) Accept() (net.Conn, error) {
	conn, ok := <-h.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (h *host) Close() error {
	close(h.accept)
	return nil
}

func (h *host) Addr() net.Addr { return &net.TCPAddr{} }

// api answers as much of the Kubernetes API as health needs.
type api struct {
	mu       sync.Mutex
	readyz   int
	body     string
	version  string
	uid      string
	status   int // if set, of everything
	hang     bool
	requests []*http.Request
	extra    http.Handler
}

func newAPI() *api {
	return &api{readyz: http.StatusOK, body: "ok", version: "v1.37.0", uid: "uid-1"}
}

// change changes how the server answers.
func (a *api) change(f func(*api)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

// seen returns the requests for a path, all of them for "".
func (a *api) seen(path string) []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	var seen []*http.Request
	for _, req := range a.requests {
		if path == "" || req.URL.Path == path {
			seen = append(seen, req)
		}
	}
	return seen
}

func (a *api) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, req)
	readyz, body, version, uid, status, hang, extra := a.readyz, a.body, a.version, a.uid, a.status, a.hang, a.extra
	a.mu.Unlock()
	if hang {
		<-req.Context().Done()
		return
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	switch req.URL.Path {
	case "/readyz":
		w.WriteHeader(readyz)
		_, _ = io.WriteString(w, body)
	case "/version":
		_, _ = fmt.Fprintf(w, `{"gitVersion":%q}`, version)
	case "/api/v1/namespaces/kube-system":
		if uid == "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, `{"kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":%q}}`, uid)
	default:
		if extra == nil {
			http.NotFound(w, req)
			return
		}
		extra.ServeHTTP(w, req)
	}
}
