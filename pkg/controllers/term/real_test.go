// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestGateOverRealConnections goes through net/http on both sides, with HTTP/1.1 and HTTP/2.
func TestGateOverRealConnections(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			cutOff := make(chan struct{}, 1)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if _, err := io.Copy(w, req.Body); err != nil {
					t.Errorf("read the request: %v", err)
				}
				if req.URL.Path == "/hang" {
					<-req.Context().Done()
					cutOff <- struct{}{}
				}
			}))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			t.Cleanup(srv.Close)
			client := srv.Client()
			g := NewGate(GateOptions{Leased: true})
			client.Transport = g.Wrap(client.Transport)
			post := func(path string) (string, error) {
				resp, err := client.Post(srv.URL+path, "text/plain", strings.NewReader("hello"))
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				if resp.ProtoMajor == 2 != http2 {
					t.Errorf("the protocol is %s", resp.Proto)
				}
				body, err := io.ReadAll(resp.Body)
				return string(body), err
			}

			g.Extend(g.Now().Add(time.Hour))
			if err := g.Open(1); err != nil {
				t.Fatal(err)
			}
			if body, err := post("/"); err != nil || body != "hello" {
				t.Errorf("through an open gate: %q, %v", body, err)
			}
			g.Close()
			if _, err := post("/"); !errors.Is(err, ErrClosed) {
				t.Errorf("through a closed gate: %v, want ErrClosed", err)
			}
			if err := g.Idle(t.Context()); err != nil {
				t.Error(err)
			}

			short := NewGate(GateOptions{Leased: true})
			client.Transport = short.Wrap(client.Transport.(*transport).next)
			short.Extend(short.Now().Add(300 * time.Millisecond))
			if err := short.Open(2); err != nil {
				t.Fatal(err)
			}
			if _, err := post("/hang"); !errors.Is(err, ErrExpired) {
				t.Errorf("past the deadline: %v, want ErrExpired", err)
			}
			<-cutOff
			if err := short.Idle(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
