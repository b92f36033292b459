// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-project/muster/test/fleet"
)

// traps stop a deployment at the request that begins a step of it, for as long as it
// takes to strike: a step that lasts a millisecond is struck like one that lasts a
// second. All servers that Muster talks to for a deployment have the same traps.
type traps struct {
	mu  sync.Mutex
	set *trap // nil while everything passes
}

// trap waits for one request, and stops it and everything that would write.
type trap struct {
	wants  func(*http.Request) bool // called for one request at a time
	caught chan struct{}            // closed when that request has come
	opened chan struct{}            // closed when what was stopped may go on, or has to end
	pass   bool                     // which of the two; written before opened is closed
	sprung bool
}

// arm sets the trap, in place of another one.
func (s *traps) arm(wants func(*http.Request) bool) *trap {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = &trap{wants: wants, caught: make(chan struct{}), opened: make(chan struct{})}
	return s.set
}

// open takes the trap away. What it has stopped reaches its server if it may pass, as
// a request does that was under way when its sender died; otherwise it never does.
func (s *traps) open(set *trap, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == set {
		s.set = nil
	}
	set.pass = pass
	close(set.opened)
}

// stops returns the trap that a request is in, nil if there is none.
func (s *traps) stops(r *http.Request) *trap {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch set := s.set; {
	case set == nil:
		return nil
	case set.sprung:
		if !isWrite(r) && !set.wants(r) {
			return nil
		}
		return set
	case set.wants(r):
		set.sprung = true
		close(set.caught)
		return set
	}
	return nil
}

// guard has a server's requests pass the traps.
func (s *traps) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := s.stops(r)
		if set == nil {
			next.ServeHTTP(w, r)
			return
		}
		// Now: its sender is about to die, and what it has not sent by then with it.
		body, err := io.ReadAll(r.Body)
		<-set.opened
		if err != nil || !set.pass {
			panic(http.ErrAbortHandler)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), convergence)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	})
}

// isWrite says whether a request to a cluster changes something.
func isWrite(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return strings.HasPrefix(r.URL.Path, "/api") && r.URL.Query().Get("dryRun") == "" && !strings.HasSuffix(r.URL.Path, "reviews")
	}
	return false
}

// nth is a trap's condition for the nth request that another one is true of.
func nth(n int, wants func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if wants(r) {
			n--
			return n <= 0
		}
		return false
	}
}

// requests is a trap's condition for a method and a part of the path. An empty method
// is any that writes: objects are created and applied in several ways.
func requests(method string, parts ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if method == "" && !isWrite(r) || method != "" && r.Method != method {
			return false
		}
		for _, part := range parts {
			if strings.Contains(r.URL.Path, part) {
				return true
			}
		}
		return false
	}
}

// serveGate serves a managed cluster behind the traps, to whoever asks, as an
// administrator's, and returns a kubeconfig for it. Impersonation and User-Agents
// reach the cluster.
func (s *traps) serveGate(t *testing.T, cluster *fleet.ControlPlane) []byte {
	t.Helper()
	config, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, // watches
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewUnstartedServer(s.guard(proxy))
	server.EnableHTTP2 = true
	server.StartTLS()
	endWith(t, server)
	return gateConfig(t, server)
}

// endWith ends a server with the test, in the middle of the watches that it serves.
func endWith(t *testing.T, server *httptest.Server) {
	t.Cleanup(func() {
		if err := server.Config.Close(); err != nil {
			t.Error(err)
		}
	})
}

// gateConfig is a kubeconfig for a server of a test's own.
func gateConfig(t *testing.T, server *httptest.Server) []byte {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server.URL, CertificateAuthorityData: pemOf(server)}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: name}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTrapStopsOneStep: the request that is waited for, and what would write behind it,
// are stopped; what only reads is not. Opened, it lets all of that through although
// its sender has gone, or nothing of it.
func TestTrapStopsOneStep(t *testing.T) {
	for _, pass := range []bool{true, false} {
		var s traps
		arrived := make(chan string, 10)
		server := httptest.NewServer(s.guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // what is missing is told apart below
			arrived <- r.Method + " " + r.URL.Path + " " + string(body)
		})))
		send := func(method, path string) (gone func()) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			request, err := http.NewRequestWithContext(ctx, method, server.URL+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer close(ended)
				if response, err := server.Client().Do(request); err == nil {
					_ = response.Body.Close()
				}
			}()
			return func() { cancel(); <-ended }
		}
		set := s.arm(nth(2, requests("", "/configmaps/")))
		first := send(http.MethodPatch, "/api/v1/configmaps/a")
		if got := <-arrived; got != "PATCH /api/v1/configmaps/a body" {
			t.Errorf("before the step: %s", got)
		}
		second := send(http.MethodPatch, "/api/v1/configmaps/b")
		<-set.caught
		read := send(http.MethodGet, "/api/v1/configmaps/c")
		if got := <-arrived; got != "GET /api/v1/configmaps/c body" {
			t.Errorf("beside the step: %s", got)
		}
		first()
		read()
		second()
		s.open(set, pass)
		if pass {
			select {
			case got := <-arrived:
				if got != "PATCH /api/v1/configmaps/b body" {
					t.Errorf("of the step: %s", got)
				}
			case <-time.After(takeoverLimit):
				t.Error("what was under way has not arrived")
			}
		}
		server.Close() // waits for all requests
		if len(arrived) > 0 {
			t.Errorf("arrived too: %s", <-arrived)
		}
	}
}
