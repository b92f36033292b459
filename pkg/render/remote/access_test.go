// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/render/egress"
)

// loopback lets a fetcher reach test servers without a mirror, as if they were public.
func loopback() Options {
	return Options{Addresses: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
}

func authorityOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestCredentialsAndCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	ca := authorityOf(server)
	for name, tt := range map[string]struct {
		source Source
		want   string
		reason Reason
		says   string
	}{
		"token":       {source: Source{Credentials: Credentials{Token: "t", Username: "u", CA: ca}}, want: "Bearer t"},
		"password":    {source: Source{Credentials: Credentials{Username: "u", Password: "p", CA: ca}}, want: "Basic dTpw"},
		"any":         {source: Source{InsecureSkipTLSVerify: true}, want: ""},
		"unknown CA":  {source: Source{}, reason: Denied, says: "caFile"},
		"a CA of air": {source: Source{Credentials: Credentials{CA: []byte("none")}}, reason: Invalid, says: "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.source.URL = server.URL + "/a"
			content, err := NewFetcher(loopback()).Fetch(t.Context(), tt.source)
			switch {
			case tt.reason != "":
				wantReason(t, err, tt.reason, tt.says)
			case err != nil || string(content.Blobs[0].Data) != tt.want:
				t.Errorf("%v, %v", content, err)
			}
		})
	}
	// A mirror is not the host that credentials were given for.
	fetcher := NewFetcher(mirrored(public, server))
	content, err := fetcher.Fetch(t.Context(), Source{URL: public + "/a", InsecureSkipTLSVerify: true, Credentials: Credentials{Token: "t"}})
	if err != nil || len(content.Blobs[0].Data) != 0 {
		t.Errorf("a mirror was sent %v, %v", content, err)
	}
}

// What a redirect leads to is another's, also on the same address.
func TestCredentialsDoNotFollowRedirects(t *testing.T) {
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Header.Get("Authorization")) })
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	content, err := NewFetcher(loopback()).Fetch(t.Context(), Source{URL: server.URL, Credentials: Credentials{Token: "t"}})
	if err != nil || string(content.Blobs[0].Data) != `""` {
		t.Errorf("%v, %v", content, err)
	}
}

// guarded is a registry that wants a password, over basic authentication or by way of a
// token service on a path of its own.
type guarded struct {
	*registry
	tokens bool

	mu   sync.Mutex
	seen []string // what came as authorization
}

const (
	testUser     = "robot"
	testPassword = "hunter2-hunter2"
)

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	g.mu.Lock()
	g.seen = append(g.seen, authorization)
	g.mu.Unlock()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(testUser+":"+testPassword))
	switch {
	case r.URL.Path == "/token" && authorization == basic:
		fmt.Fprint(w, `{"token": "made-for-this"}`)
		return
	case r.URL.Path == "/token":
		w.WriteHeader(http.StatusUnauthorized)
		return
	case !g.tokens && authorization == basic, g.tokens && authorization == "Bearer made-for-this":
		g.registry.ServeHTTP(w, r)
		return
	case g.tokens:
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="%s://%s/token",service="test"`, scheme, r.Host))
	default:
		w.Header().Set("Www-Authenticate", `Basic realm="test"`)
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func TestRegistryCredentials(t *testing.T) {
	data := []byte("one")
	artifact := newRegistry(t, layer(data, "a.yaml"))
	artifact.blobs[digest(data)] = data
	for name, tt := range map[string]struct {
		tokens, secure bool
		password       string
		reason         Reason
	}{
		"basic over TLS with a CA of its own":       {secure: true, password: testPassword},
		"basic in plain text":                       {password: testPassword},
		"a token service over TLS":                  {tokens: true, secure: true, password: testPassword},
		"a token service in plain text":             {tokens: true, password: testPassword},
		"a wrong password":                          {secure: true, password: "another-password", reason: Denied},
		"a wrong password for the token service":    {tokens: true, password: "another-password", reason: Denied},
		"nobody in particular":                      {secure: true, reason: Denied},
		"nobody in particular at the token service": {tokens: true, reason: Denied},
	} {
		t.Run(name, func(t *testing.T) {
			handler := &guarded{registry: artifact, tokens: tt.tokens}
			server := httptest.NewUnstartedServer(handler)
			source := Source{PlainHTTP: !tt.secure}
			if tt.secure {
				server.StartTLS()
				source.Credentials.CA = authorityOf(server)
			} else {
				server.Start()
			}
			defer server.Close()
			if tt.password != "" {
				source.Credentials.Username, source.Credentials.Password = testUser, tt.password
			}
			source.URL = "oci://" + server.Listener.Addr().String() + "/team/app:v1"
			content, err := NewFetcher(loopback()).Fetch(t.Context(), source)
			if tt.reason != "" {
				wantReason(t, err, tt.reason, "")
				if strings.Contains(err.Error(), "password") {
					t.Errorf("%v carries a password", err)
				}
				return
			}
			if err != nil || string(content.Blobs[0].Data) != "one" {
				t.Errorf("Fetch() = %v, %v", content, err)
			}
		})
	}
	// A mirror is asked as nobody in particular.
	handler := &guarded{registry: artifact}
	server := httptest.NewServer(handler)
	defer server.Close()
	_, err := NewFetcher(mirrored("oci://registry.test", server)).Fetch(t.Context(), Source{
		URL: "oci://registry.test/team/app:v1", Credentials: Credentials{Username: testUser, Password: testPassword},
	})
	wantReason(t, err, Denied, "")
	if slices.ContainsFunc(handler.seen, func(s string) bool { return s != "" }) {
		t.Errorf("a mirror was sent %q", handler.seen)
	}
}

// TLS is what a registry is spoken to with, unless plain HTTP was asked for.
func TestPlainHTTPIsAskedFor(t *testing.T) {
	data := []byte("one")
	artifact := newRegistry(t, layer(data, "a.yaml"))
	artifact.blobs[digest(data)] = data
	server := httptest.NewServer(artifact)
	defer server.Close()
	source := Source{URL: "oci://" + server.Listener.Addr().String() + "/team/app:v1"}
	_, err := NewFetcher(loopback()).Fetch(t.Context(), source)
	wantReason(t, err, Unreachable, "")
	source.PlainHTTP = true
	if _, err := NewFetcher(loopback()).Fetch(t.Context(), source); err != nil {
		t.Error(err)
	}
}

func TestDigest(t *testing.T) {
	asked := atomic.Int32{}
	body := []byte("an archive")
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); _, _ = w.Write(body) })
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	options := mirrored(public, server)
	options.Now = func() time.Time { return now }
	fetcher := NewFetcher(options)
	source := Source{URL: public + "/a", Digest: digest(body)}
	for range 3 {
		content, err := fetcher.Fetch(t.Context(), source)
		if err != nil || string(content.Blobs[0].Data) != string(body) || !content.Due.IsZero() {
			t.Errorf("Fetch() = %v, %v", content, err)
		}
		now = now.Add(24 * time.Hour)
	}
	if asked.Load() != 1 {
		t.Errorf("fetched %d times", asked.Load())
	}
	source.Digest = digest([]byte("another"))
	_, err := fetcher.Fetch(t.Context(), source)
	wantReason(t, err, Invalid, "not what it should be")
	for _, bad := range []string{"md5:0123", "sha256:0", "blake3:" + strings.Repeat("0", 64)} {
		source.Digest = bad
		_, err := fetcher.Fetch(t.Context(), source)
		wantReason(t, err, Invalid, "sha256")
	}
}
