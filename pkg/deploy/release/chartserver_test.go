// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pack makes a chart archive of the files below the chart's directory.
func pack(t testing.TB, name string, files map[string]string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zipped)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name + "/" + file, Mode: 0o644, Size: int64(len(files[file]))}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[file])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// files returns those of a small chart, with more of them added.
func files(name, version string, more ...string) map[string]string {
	out := map[string]string{
		"Chart.yaml":             fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: app-%s\nicon: https://example.com/icon.png\n", name, version, version),
		"values.yaml":            "replicas: 1\n",
		"templates/config.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {replicas: {{ .Values.replicas | quote }}}\n",
		"templates/_helpers.tpl": "{{ define \"x\" }}y{{ end }}\n",
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// chartServer is a chart repository. What it serves can be changed.
type chartServer struct {
	*httptest.Server

	mu       sync.Mutex
	content  map[string][]byte // by path
	etags    map[string]string
	requests []string // paths, and "304 path"
	headers  http.Header
	// intercept may answer in the server's place.
	intercept http.HandlerFunc
}

func newChartServer(t testing.TB) *chartServer {
	t.Helper()
	s := &chartServer{content: map[string][]byte{}, etags: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *chartServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	intercept, body, etag := s.intercept, s.content[r.URL.Path], s.etags[r.URL.Path]
	s.headers = r.Header.Clone()
	entry := r.URL.Path
	if etag != "" && r.Header.Get("If-None-Match") == etag {
		entry = "304 " + entry
	}
	s.requests = append(s.requests, entry)
	s.mu.Unlock()
	switch {
	case intercept != nil:
		intercept(w, r)
	case strings.HasPrefix(entry, "304 "):
		w.WriteHeader(http.StatusNotModified)
	case body == nil:
		http.NotFound(w, r)
	default:
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		_, _ = w.Write(body)
	}
}

func (s *chartServer) set(path string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content[path] = body
}

// take returns the requests since the last call.
func (s *chartServer) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.requests
	s.requests = nil
	return taken
}

// serveIndex serves chart archives and an index of them under a path.
func (s *chartServer) serveIndex(t testing.TB, base, chart string, versions ...string) {
	t.Helper()
	index := "apiVersion: v1\nentries:\n  " + chart + ":\n"
	for _, version := range versions {
		archive := pack(t, chart, files(chart, strings.TrimPrefix(version, "v")))
		file := chart + "-" + version + ".tgz"
		s.set(base+"/"+file, archive)
		index += fmt.Sprintf("  - {version: %q, urls: [%q], digest: %q}\n", version, file, strings.TrimPrefix(digestOf(archive), "sha256:"))
	}
	s.set(base+"/index.yaml", []byte(index))
}

// mirrorTo maps https://charts.example and oci://registry.example to a server.
func mirrorTo(s *chartServer) func(string) string {
	return func(url string) string {
		for _, from := range []string{"https://charts.example", "oci://registry.example"} {
			if rest, ok := strings.CutPrefix(url, from); ok {
				return s.URL + rest
			}
		}
		return url
	}
}
