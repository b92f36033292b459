// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
)

// Media types of a chart in an OCI registry.
const (
	ociManifest  = "application/vnd.oci.image.manifest.v1+json"
	chartConfig  = "application/vnd.cncf.helm.config.v1+json"
	chartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// ociRegistry is the pulling half of the OCI distribution API for charts:
// manifests by tag and digest, blobs, tags. Repositories are charts/<name>.
type ociRegistry struct {
	content map[string]ociContent        // by digest
	tags    map[string]map[string]string // repository → tag → digest
}

type ociContent struct {
	mediaType string
	data      []byte
}

type ociDescriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func newOCIRegistry(packages []*chartPackage) (*ociRegistry, error) {
	r := &ociRegistry{content: map[string]ociContent{}, tags: map[string]map[string]string{}}
	for _, p := range packages {
		config, err := json.Marshal(p.metadata)
		if err != nil {
			return nil, fmt.Errorf("encoding the metadata of chart %s: %w", p.metadata.Name, err)
		}
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2,
			"mediaType":     ociManifest,
			"config":        r.add(chartConfig, config),
			"layers":        []ociDescriptor{r.add(chartContent, p.archive)},
		})
		if err != nil {
			return nil, fmt.Errorf("encoding the manifest of chart %s: %w", p.metadata.Name, err)
		}
		repository := path.Join("charts", p.metadata.Name)
		if r.tags[repository] == nil {
			r.tags[repository] = map[string]string{}
		}
		r.tags[repository][p.metadata.Version] = r.add(ociManifest, manifest).Digest
	}
	return r, nil
}

func (r *ociRegistry) add(mediaType string, data []byte) ociDescriptor {
	digest := "sha256:" + digestOf(data)
	r.content[digest] = ociContent{mediaType: mediaType, data: data}
	return ociDescriptor{MediaType: mediaType, Digest: digest, Size: len(data)}
}

// ServeHTTP answers /v2/, /v2/<name>/tags/list, /v2/<name>/manifests/<tag or
// digest> and /v2/<name>/blobs/<digest>.
func (r *ociRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	rest := strings.TrimPrefix(request.URL.Path, "/v2/")
	if rest == "" {
		return
	}
	name, reference := path.Split(rest)
	name, kind := path.Split(strings.TrimSuffix(name, "/"))
	name = strings.TrimSuffix(name, "/")
	tags, ok := r.tags[name]
	if !ok {
		http.NotFound(w, request)
		return
	}
	switch kind {
	case "tags":
		r.serveTags(w, name, tags)
	case "manifests", "blobs":
		if digest, ok := tags[reference]; ok && kind == "manifests" {
			reference = digest
		}
		r.serveContent(w, request, reference)
	default:
		http.NotFound(w, request)
	}
}

func (r *ociRegistry) serveTags(w http.ResponseWriter, name string, tags map[string]string) {
	list := make([]string, 0, len(tags))
	for tag := range tags {
		list = append(list, tag)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": list})
}

func (r *ociRegistry) serveContent(w http.ResponseWriter, request *http.Request, digest string) {
	content, ok := r.content[digest]
	if !ok {
		http.NotFound(w, request)
		return
	}
	w.Header().Set("Docker-Content-Digest", digest)
	serveBytes(content.mediaType, content.data)(w, request)
}
