// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// The public addresses that the fleet has a mirror of: the sourceServer.
const (
	sourcesURL  = "https://sources.test"
	registryURL = "oci://registry.test"
)

// sourceServer serves what tests put there, over HTTP and as a registry.
type sourceServer struct {
	*httptest.Server

	mu    sync.Mutex
	files map[string]sourceFile // by path
}

type sourceFile struct {
	contentType string
	data        []byte
}

func newSourceServer() *sourceServer {
	s := &sourceServer{files: map[string]sourceFile{}}
	s.Server = httptest.NewServer(s)
	return s
}

// mirrors are the arguments that lead Muster here.
func (s *sourceServer) mirrors() []string {
	var args []string
	for _, from := range []string{sourcesURL, registryURL, fluxController} {
		args = append(args, "--chart-mirror="+from+"="+s.URL)
	}
	return args
}

// ServeHTTP implements http.Handler. Paths that start with /redirect/ lead to what
// follows them.
func (s *sourceServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if target, found := strings.CutPrefix(r.URL.Path, "/redirect/"); found {
		http.Redirect(w, r, "http://"+target, http.StatusFound)
		return
	}
	s.mu.Lock()
	file, found := s.files[r.URL.Path]
	s.mu.Unlock()
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.contentType)
	w.Header().Set("Docker-Content-Digest", digestOf(file.data))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(file.data)))
}

func (s *sourceServer) put(path, contentType string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = sourceFile{contentType, data}
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// putArtifact makes an artifact with one layer, under a tag.
func (s *sourceServer) putArtifact(repository, tag string, layer []byte) error {
	return s.putLayer(repository, tag, "application/vnd.oci.image.layer.v1.tar+gzip", layer)
}

// putChart makes a chart, under its version.
func (s *sourceServer) putChart(repository, version string, archive []byte) error {
	return s.putLayer(repository, version, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)
}

func (s *sourceServer) putLayer(repository, tag, mediaType string, layer []byte) error {
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	config := []byte("{}")
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": digestOf(config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": mediaType, "digest": digestOf(layer), "size": len(layer)}},
	})
	if err != nil {
		return err
	}
	base := "/v2/" + repository
	s.put(base+"/blobs/"+digestOf(layer), "application/octet-stream", layer)
	s.put(base+"/manifests/"+digestOf(manifest), manifestType, manifest)
	s.put(base+"/manifests/"+tag, manifestType, manifest)
	return nil
}
