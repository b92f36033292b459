// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// TestConnectionsAreRetired: none before the server ends, each with its next
// answer from then on, and none of HTTP/2.
func TestConnectionsAreRetired(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			ending := make(chan struct{})
			server := httptest.NewUnstartedServer(newRetirement(ending).filter(http.NotFoundHandler()))
			server.EnableHTTP2 = http2
			server.StartTLS()
			t.Cleanup(server.Close)
			reused := func() (reused bool) {
				trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
				request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, server.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := server.Client().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				if response.ProtoMajor == 2 != http2 {
					t.Fatalf("the protocol is %s", response.Proto)
				}
				// A connection is used again when an answer was read to its end.
				if _, err := io.Copy(io.Discard, response.Body); err != nil {
					t.Fatal(err)
				}
				if err := response.Body.Close(); err != nil {
					t.Fatal(err)
				}
				return reused
			}
			reused()
			if !reused() {
				t.Error("a connection was closed before the server ended")
			}
			close(ending)
			if !reused() {
				t.Error("a connection was closed before its next request")
			}
			if got := reused(); got != http2 {
				t.Errorf("afterwards a connection was used again: %v", got)
			}
		})
	}
}

// TestWatchesEndInGoodTime: not before it is known that the server is not ready,
// not all at once, and all of them before it stops to answer.
func TestWatchesEndInGoodTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ending := make(chan struct{})
		r := newRetirement(ending)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := r.run(ctx); err != nil {
				t.Error(err)
			}
		})
		handler := r.filter(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }))
		var mu sync.Mutex
		var ended []time.Time
		open := func(path string) {
			running.Go(func() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, time.Now())
			})
		}
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(ended)
		}
		for range 100 {
			open("/apis/g/v1/things?watch=true")
		}
		open("/apis/g/v1/things") // goes on for as long as it takes
		time.Sleep(time.Hour)
		if n := count(); n > 0 {
			t.Errorf("%d watches ended before the server", n)
		}
		began := time.Now()
		close(ending)
		time.Sleep(watchesStay - time.Millisecond)
		if n := count(); n > 0 {
			t.Errorf("%d watches ended at once", n)
		}
		time.Sleep(watchesLeave + time.Second)
		if n := count(); n != 100 {
			t.Errorf("%d of 100 watches ended", n)
		}
		cancel()
		running.Wait()
		if last := ended[99].Sub(began); last > 9*time.Second || ended[50].Equal(ended[0]) {
			t.Errorf("the first ended after %s, the last after %s", ended[0].Sub(began), last)
		}
	})
}

// authority is an authority that may be known.
type authority struct {
	dynamiccertificates.CAContentProvider
	known bool
}

func (a *authority) VerifyOptions() (x509.VerifyOptions, bool) { return x509.VerifyOptions{}, a.known }

func TestNobodyIsServedBeforeCallersAreKnown(t *testing.T) {
	if err := callersKnown(nil).Check(nil); err != nil {
		t.Errorf("without an aggregator: %v", err)
	}
	ca, headers := &authority{}, headerrequest.StaticStringSlice{}
	check := func() error {
		return callersKnown(&authenticatorfactory.RequestHeaderConfig{CAContentProvider: ca, UsernameHeaders: headers}).Check(nil)
	}
	if check() == nil {
		t.Error("ready when nothing is known")
	}
	ca.known = true
	if check() == nil {
		t.Error("ready when it is not known which header names the caller")
	}
	headers = headerrequest.StaticStringSlice{"X-Remote-User"}
	if err := check(); err != nil {
		t.Error(err)
	}
}
