// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/test/fleet"
)

// reader sends requests to one server, over HTTPS, as one user.
type reader struct {
	base   string
	client *http.Client
}

func newReader(config *rest.Config) (*reader, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of %s: %w", config.Host, err)
	}
	return &reader{base: config.Host, client: client}, nil
}

// readers are two ways to Muster's API.
type readers struct {
	// direct leads to Muster itself, aggregated through the host.
	direct, aggregated *reader
}

// viewer is a user who may see Muster's objects: Muster and the host have to
// ask who may do what, which they don't for an administrator.
var viewer = fleet.User{Name: "bench-viewer", Groups: []string{"bench"}}

// newReaders makes both ways, for a user who may read.
func newReaders(ctx context.Context, f *fleet.Fleet) (*readers, error) {
	if _, err := f.Kubectl(ctx, "create", "clusterrolebinding", "bench-viewer", "--clusterrole=muster-view", "--user="+viewer.Name); err != nil {
		return nil, err
	}
	config, err := f.Host.UserRESTConfig(viewer)
	if err != nil {
		return nil, err
	}
	aggregated, err := newReader(config)
	if err != nil {
		return nil, err
	}
	direct, err := directConfig(ctx, f, config)
	if err != nil {
		return nil, err
	}
	reader, err := newReader(direct)
	return &readers{direct: reader, aggregated: aggregated}, err
}

// newBareReader leads to a server that does nothing, in a process of its own.
func newBareReader(to endpoint) (*reader, error) {
	return newReader(&rest.Config{
		Host: "https://" + to.Address, BearerToken: "bare", TLSClientConfig: rest.TLSClientConfig{CAData: to.CA},
	})
}

// directConfig leads past the host. Muster takes the client certificates that
// the host takes; its own certificate is vouched for in the APIServices.
func directConfig(ctx context.Context, f *fleet.Fleet, host *rest.Config) (*rest.Config, error) {
	result, err := f.Kubectl(ctx, "get", "apiservice", "v1beta1.lib.projectsveltos.io", "-o", "jsonpath={.spec.caBundle}")
	if err != nil {
		return nil, err
	}
	bundle, err := base64.StdEncoding.DecodeString(strings.TrimSpace(result.Stdout))
	if err != nil {
		return nil, fmt.Errorf("decoding Muster's caBundle: %w", err)
	}
	config := rest.CopyConfig(host)
	config.Host = "https://" + f.Muster.Address()
	config.CAData, config.CAFile = bundle, ""
	return config, nil
}

// get reads a path to its end.
func (r *reader) get(ctx context.Context, path string) ([]byte, error) {
	return r.do(ctx, http.MethodGet, path, "", nil)
}

func (r *reader) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request for %s: %w", path, err)
	}
	request.Header.Set("Accept", "application/json")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer[:min(len(answer), 300)])
	}
	return answer, nil
}

// selectionAnswer is what a benchmark looks at in a Selection.
type selectionAnswer struct {
	Selected  []json.RawMessage `json:"selected"`
	Counts    map[string]int    `json:"counts"`
	Persisted bool              `json:"persisted"`
}

func (r *reader) selection(ctx context.Context, set string) (*selectionAnswer, error) {
	data, err := r.get(ctx, selectionPath(set))
	if err != nil {
		return nil, err
	}
	answer := &selectionAnswer{}
	if err := json.Unmarshal(data, answer); err != nil {
		return nil, fmt.Errorf("decoding the selection of %s: %w", set, err)
	}
	return answer, nil
}

func selectionPath(set string) string {
	return "/apis/" + setResource.Group + "/" + setResource.Version + "/clustersets/" + set + "/selection?limit=100"
}

// writer changes the status of random clusters, through the API.
type writer struct {
	reader   *reader
	clusters int
}

func newWriter(ctx context.Context, f *fleet.Fleet, clusters int) (*writer, error) {
	admin, err := f.Host.RESTConfig()
	if err != nil {
		return nil, err
	}
	config, err := directConfig(ctx, f, admin)
	if err != nil {
		return nil, err
	}
	reader, err := newReader(config)
	return &writer{reader, clusters}, err
}

// write changes a field that is not Muster's own, which would correct it.
func (w *writer) write(ctx context.Context, _ int) error {
	path := fmt.Sprintf("/apis/%s/%s/namespaces/%s/sveltosclusters/%s/status", clusterResource.Group, clusterResource.Version, space, clusterName(rand.N(w.clusters)))
	patch := fmt.Sprintf(`{"status":{"lastReconciledTokenRequestAt":%q}}`, time.Now().Format(time.RFC3339Nano))
	_, err := w.reader.do(ctx, http.MethodPatch, path, "application/merge-patch+json", []byte(patch))
	return err
}
