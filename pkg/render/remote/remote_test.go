// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mirrored fetches from a test server, which is on loopback, as from a public one.
func mirrored(from string, server *httptest.Server) Options {
	return Options{Mirror: func(raw string) string {
		if rest, found := strings.CutPrefix(raw, from); found {
			return server.URL + rest
		}
		return raw
	}}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func wantReason(t *testing.T, err error, reason Reason, says string) {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) || failed.Reason != reason || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want %s with %q", err, reason, says)
	}
}

const public = "https://sources.test"

func TestNothingIsFetchedFromLoopback(t *testing.T) {
	asked := atomic.Bool{}
	server := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, target := range []string{server.URL, "http://localhost" + port, "http://[::ffff:127.0.0.1]" + port, "oci://127.0.0.1" + port + "/a:v1"} {
		_, err := NewFetcher(Options{}).Fetch(t.Context(), Source{URL: target, PlainHTTP: true})
		wantReason(t, err, Denied, "a loopback address")
	}
	// A mirror leads to one place, and a redirect from there to no other.
	other := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	mirror := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	_, err := NewFetcher(mirrored("http://sources.test", mirror)).Fetch(t.Context(), Source{URL: "http://sources.test/a"})
	wantReason(t, err, Denied, "a loopback address")
	metadata := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	_, err = NewFetcher(mirrored("http://sources.test", metadata)).Fetch(t.Context(), Source{URL: "http://sources.test/a"})
	wantReason(t, err, Denied, "link-local")
	if asked.Load() {
		t.Error("a server on loopback was asked")
	}
}

func TestHTTP(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good.yaml":
			fmt.Fprint(w, "a: b")
		case "/large":
			_, _ = w.Write(make([]byte, 100))
		case "/denied":
			w.WriteHeader(http.StatusForbidden)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/short":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "a")
		default:
			http.NotFound(w, r)
		}
	})
	options := mirrored(public, server)
	options.Limit = 50
	fetcher := NewFetcher(options)
	content, err := fetcher.Fetch(t.Context(), Source{URL: public + "/good.yaml?token=hunter2"})
	if err != nil || len(content.Blobs) != 1 || content.Blobs[0].Name != "good.yaml" || string(content.Blobs[0].Data) != "a: b" || !strings.HasPrefix(content.Digest, "sha256:") {
		t.Errorf("Fetch() = %+v, %v", content, err)
	}
	for path, want := range map[string]struct {
		reason Reason
		says   string
	}{
		"/missing": {NotFound, "404"}, "/large": {Invalid, "more than 50 bytes"}, "/denied": {Denied, "403"}, "/broken": {Unreachable, "502"},
		"/loop": {Invalid, "redirects"}, "/short": {Unreachable, "cannot be reached"},
	} {
		_, err := fetcher.Fetch(t.Context(), Source{URL: public + path + "?token=hunter2"})
		wantReason(t, err, want.reason, want.says)
		if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), public+path)) {
			t.Errorf("%v", err)
		}
	}
	for _, bad := range []string{"", "file:///etc/passwd", "https://user:hunter2@sources.test/a", "https:///a", "ftp://a/b", "ht tp://a"} {
		_, err := fetcher.Fetch(t.Context(), Source{URL: bad})
		wantReason(t, err, Invalid, "")
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%v quotes a password", err)
		}
	}
}

func TestFetchedOnceForAll(t *testing.T) {
	asked := atomic.Int32{}
	status := atomic.Int32{}
	status.Store(http.StatusOK)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		fmt.Fprint(w, asked.Add(1))
	})
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	options := mirrored(public, server)
	options.Now = func() time.Time { return now }
	fetcher := NewFetcher(options)
	source := Source{URL: public + "/a", Interval: time.Minute}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if content, err := fetcher.Fetch(t.Context(), source); err != nil || string(content.Blobs[0].Data) != "1" || !content.Due.Equal(now.Add(time.Minute)) {
				t.Errorf("Fetch() = %v, %v", content, err)
			}
		})
	}
	all.Wait()
	now = now.Add(time.Minute)
	if content, err := fetcher.Fetch(t.Context(), source); err != nil || string(content.Blobs[0].Data) != "2" {
		t.Errorf("after the interval: %v, %v", content, err)
	}
	other := source
	other.Credentials.Token = "t"
	if content, err := fetcher.Fetch(t.Context(), other); err != nil || string(content.Blobs[0].Data) != "3" {
		t.Errorf("with other credentials: %v, %v", content, err)
	}
	now = now.Add(time.Hour)
	status.Store(http.StatusServiceUnavailable)
	if content, err := fetcher.Fetch(t.Context(), source); err != nil || string(content.Blobs[0].Data) != "2" || !content.Due.Equal(now.Add(time.Minute)) {
		t.Errorf("while the server is down: %v, %v", content, err)
	}
	status.Store(http.StatusNotFound)
	_, err := fetcher.Fetch(t.Context(), source)
	wantReason(t, err, NotFound, "404")
}

func TestTimeout(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewFetcher(Options{}).Fetch(ended, Source{URL: public}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	hang := make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	options := mirrored(public, server)
	options.Timeout = 50 * time.Millisecond
	_, err := NewFetcher(options).Fetch(t.Context(), Source{URL: public + "/a"})
	wantReason(t, err, Unreachable, "deadline exceeded")
}

// registry serves one artifact under every name.
type registry struct {
	manifest []byte
	blobs    map[string][]byte
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func newRegistry(t *testing.T, layers ...map[string]any) *registry {
	t.Helper()
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest([]byte("{}")), "size": 2},
		"layers": layers,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &registry{manifest: manifest, blobs: map[string][]byte{}}
}

func (r *registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	parts := strings.Split(request.URL.Path, "/")
	reference := parts[len(parts)-1]
	if parts[len(parts)-2] == "manifests" && (reference == "v1" || reference == "latest" || reference == digest(r.manifest)) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", digest(r.manifest))
		w.Header().Set("Content-Length", fmt.Sprint(len(r.manifest)))
		if request.Method == http.MethodGet {
			_, _ = w.Write(r.manifest)
		}
		return
	}
	if blob, ok := r.blobs[reference]; ok {
		_, _ = w.Write(blob)
		return
	}
	http.NotFound(w, request)
}

func layer(data []byte, title string) map[string]any {
	return map[string]any{"mediaType": "application/vnd.test", "digest": digest(data), "size": len(data), "annotations": map[string]string{"org.opencontainers.image.title": title}}
}

func TestOCI(t *testing.T) {
	one, two := []byte("one"), []byte("two!")
	good := newRegistry(t, layer(one, "a.yaml"), layer(two, ""))
	good.blobs[digest(one)], good.blobs[digest(two)] = one, two
	forged := newRegistry(t, layer(one, "a.yaml"))
	forged.blobs[digest(one)] = []byte("two")
	huge := newRegistry(t, map[string]any{"mediaType": "a", "digest": digest(one), "size": 1 << 40})
	for name, tt := range map[string]struct {
		registry *registry
		suffix   string
		reason   Reason
		says     string
	}{
		"tag":          {registry: good, suffix: ":v1"},
		"newest":       {registry: good},
		"digest":       {registry: good, suffix: "@" + digest(good.manifest)},
		"no such tag":  {registry: good, suffix: ":v2", reason: NotFound, says: "does not have it"},
		"wrong digest": {registry: forged, suffix: ":v1", reason: Invalid, says: "not what it names"},
		"other digest": {registry: good, suffix: "@" + digest([]byte("none")), reason: NotFound, says: "does not have it"},
		"huge":         {registry: huge, suffix: ":v1", reason: Invalid, says: "more than"},
		"no layers":    {registry: newRegistry(t), suffix: ":v1", reason: Invalid, says: "with layers"},
		"no name":      {registry: good, suffix: "/UPPER:v1", reason: Invalid, says: "names no repository"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, tt.registry.ServeHTTP)
			content, err := NewFetcher(mirrored("oci://registry.test", server)).Fetch(t.Context(), Source{URL: "oci://registry.test/team/app" + tt.suffix})
			if tt.reason != "" {
				wantReason(t, err, tt.reason, tt.says)
				return
			}
			if err != nil || len(content.Blobs) != 2 || content.Blobs[0].Name != "a.yaml" || string(content.Blobs[1].Data) != "two!" || content.Blobs[1].Name != "layer-2" {
				t.Errorf("Fetch() = %v, %v", content, err)
			}
		})
	}
}
