// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serveOCI serves a chart in the manner of a registry.
func (s *chartServer) serveOCI(t testing.TB, repository, mediaType string, tags map[string][]byte) {
	t.Helper()
	manifests, blobs := map[string][]byte{}, map[string][]byte{}
	var names []string
	for tag, archive := range tags {
		config := []byte("{}")
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
			"config": map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digestOf(config), "size": len(config)},
			"layers": []any{map[string]any{"mediaType": mediaType, "digest": digestOf(archive), "size": len(archive)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		manifests[tag], manifests[digestOf(manifest)], blobs[digestOf(archive)] = manifest, manifest, archive
		names = append(names, tag)
	}
	s.intercept = func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, "/v2/"+repository+"/")
		what, name, _ := strings.Cut(path, "/")
		switch {
		case ok && what == "manifests" && manifests[name] != nil:
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", digestOf(manifests[name]))
			w.Header().Set("Content-Length", fmt.Sprint(len(manifests[name])))
			_, _ = w.Write(manifests[name])
		case ok && what == "blobs" && blobs[name] != nil:
			_, _ = w.Write(blobs[name])
		case ok && what == "tags":
			_ = json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": names})
		default:
			http.NotFound(w, r)
		}
	}
}

const chartLayerType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

func ociTags(t testing.TB, versions ...string) map[string][]byte {
	tags := map[string][]byte{}
	for _, version := range versions {
		tags[strings.ReplaceAll(version, "+", "_")] = pack(t, "nginx", files("nginx", strings.TrimPrefix(version, "v")))
	}
	return tags
}

func TestLoadChartFromARegistry(t *testing.T) {
	tests := map[string]struct{ version, want string }{
		"a version":            {"1.2.0", "1.2.0"},
		"with a v":             {"v1.2.0", "1.2.0"},
		"a tag with a v":       {"1.0.0", "1.0.0"},
		"with build metadata":  {"1.1.0+up3", "1.1.0+up3"},
		"a range":              {"~1.1", "1.1.9"},
		"the newest":           {"", "1.2.0"},
		"by an older spelling": {"1.1.9", "1.1.9"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := newChartServer(t)
			server.serveOCI(t, "charts/nginx", chartLayerType, ociTags(t, "1.2.0", "v1.0.0", "1.1.0+up3", "1.1.9"))
			m := NewManager(Options{Mirror: mirrorTo(server)})
			got := mustLoad(t, m, ChartRef{RepositoryURL: "oci://registry.example/charts", ChartName: "nginx", Version: tc.version})
			if got.Name != "nginx" || got.Version != tc.want {
				t.Errorf("got %s %s", got.Name, got.Version)
			}
		})
	}
}

func TestLoadChartFromARegistryOnce(t *testing.T) {
	server := newChartServer(t)
	server.serveOCI(t, "charts/nginx", chartLayerType, ociTags(t, "1.2.0"))
	m := NewManager(Options{Mirror: mirrorTo(server)})
	now := time.Now()
	m.repository.now = func() time.Time { return now }
	asked := ChartRef{RepositoryURL: "oci://registry.example/charts", ChartName: "nginx", Version: "1.2.0"}
	mustLoad(t, m, asked)
	server.take()
	mustLoad(t, m, asked)
	if got := server.take(); len(got) > 0 {
		t.Errorf("asked again at once: %v", got)
	}
	now = now.Add(time.Hour)
	mustLoad(t, m, asked)
	for _, request := range server.take() {
		if strings.Contains(request, "/blobs/") {
			t.Errorf("downloaded again: %s", request)
		}
	}
}

func TestLoadChartFromAnIndexThatPointsIntoARegistry(t *testing.T) {
	server := newChartServer(t)
	server.serveOCI(t, "charts/nginx", chartLayerType, ociTags(t, "1.2.0"))
	registry := server.intercept
	index := "apiVersion: v1\nentries: {nginx: [{version: 1.2.0, urls: ['oci://registry.example/charts/nginx:1.2.0']}]}\n"
	server.intercept = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stable/index.yaml" {
			_, _ = w.Write([]byte(index))
			return
		}
		registry(w, r)
	}
	m := NewManager(Options{Mirror: mirrorTo(server)})
	asked := ChartRef{RepositoryURL: "https://charts.example/stable", ChartName: "nginx", Version: "1.2.0"}
	if got := mustLoad(t, m, asked); got.Version != "1.2.0" {
		t.Errorf("got %s", got.Version)
	}
	index = strings.Replace(index, "urls:", "digest: "+strings.Repeat("a", 64)+", urls:", 1)
	_, err := NewManager(Options{Mirror: mirrorTo(server)}).LoadChart(t.Context(), asked)
	if refused := chartError(t, err); refused.Reason != Invalid || !strings.Contains(err.Error(), "not what the index says") {
		t.Errorf("another digest: %v", err)
	}
}

func TestLoadChartFromARegistryErrors(t *testing.T) {
	tests := map[string]struct {
		version   string
		mediaType string
		intercept http.HandlerFunc
		reason    Reason
		want      string
	}{
		"no such version":     {"7.0.0", chartLayerType, nil, NotFound, "no version 7.0.0"},
		"no version in range": {"^7", chartLayerType, nil, NotFound, "^7"},
		"no chart":            {"1.2.0", "application/vnd.oci.image.layer.v1.tar", nil, Invalid, "holds no Helm chart"},
		"not allowed": {"1.2.0", chartLayerType, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		}, Denied, "403"},
		"no answer": {"1.2.0", chartLayerType, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Unreachable, "deadline exceeded"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := newChartServer(t)
			server.serveOCI(t, "charts/nginx", tc.mediaType, ociTags(t, "1.2.0"))
			if tc.intercept != nil {
				server.intercept = tc.intercept
			}
			m := NewManager(Options{Mirror: mirrorTo(server), FetchTimeout: 300 * time.Millisecond})
			_, err := m.LoadChart(context.Background(), ChartRef{RepositoryURL: "oci://registry.example/charts", ChartName: "nginx", Version: tc.version})
			if got := chartError(t, err); got.Reason != tc.reason || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", got.Reason, err)
			}
		})
	}
}

func TestLoadChartFromARegistryBounds(t *testing.T) {
	server := newChartServer(t)
	server.serveOCI(t, "charts/nginx", chartLayerType, ociTags(t, "1.2.0"))
	m := NewManager(Options{Mirror: mirrorTo(server), FetchLimit: 10})
	_, err := m.LoadChart(context.Background(), ChartRef{RepositoryURL: "oci://registry.example/charts", ChartName: "nginx", Version: "1.2.0"})
	if chartError(t, err).Reason != Invalid || !strings.Contains(err.Error(), "at most 10") {
		t.Errorf("error %v", err)
	}
	for _, request := range server.take() {
		if strings.Contains(request, "/blobs/") {
			t.Errorf("downloaded %s", request)
		}
	}
}

// A registry without a mirror is spoken to over TLS; a mirror says how.
func TestOpenRegistry(t *testing.T) {
	for mirror, plain := range map[string]bool{"http://127.0.0.1:5000/x": true, "https://m.example/x": false, "oci://m.example/x": false, "": false} {
		m := NewManager(Options{Mirror: func(url string) string {
			if mirror != "" {
				return mirror
			}
			return url
		}})
		const raw = "oci://registry.example/charts/nginx"
		from, err := m.repository.at(raw)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.repository.visit(ChartRef{RepositoryURL: raw}, from.asked)
		if err != nil {
			t.Fatal(err)
		}
		repo, err := v.open(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		if repo.PlainHTTP != plain {
			t.Errorf("mirror %q: plain HTTP is %v", mirror, repo.PlainHTTP)
		}
		if mirror == "" {
			if diff := cmp.Diff("registry.example/charts/nginx", repo.Reference.String()); diff != "" {
				t.Error(diff)
			}
		}
	}
}
