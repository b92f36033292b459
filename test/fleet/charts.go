// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// The public repository and registry that Charts stands in for.
const (
	kyvernoRepository = "https://kyverno.github.io/kyverno/"
	kyvernoRegistry   = "oci://ghcr.io/kyverno/charts"
)

//go:embed all:testdata/charts
var chartFiles embed.FS

// Charts serves the charts of testdata/charts as a Helm repository over HTTP
// and as an OCI registry: kyverno at 3.3.3 and 3.0.1, a stand-in with the
// public chart's shape (CRDs, custom resources, a hook that is no Job, many
// templates) and none of its programs.
type Charts struct {
	port     *port
	handler  http.Handler
	server   *http.Server
	finished sync.WaitGroup
}

func newCharts(port *port) (*Charts, error) {
	packages, err := packageCharts(chartFiles)
	if err != nil {
		return nil, fmt.Errorf("packaging the charts: %w", err)
	}
	c := &Charts{port: port}
	index, err := repositoryIndex(packages)
	if err != nil {
		return nil, err
	}
	registry, err := newOCIRegistry(packages)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kyverno/index.yaml", serveBytes("application/yaml", index))
	for _, p := range packages {
		mux.HandleFunc("GET /kyverno/"+p.file(), serveBytes("application/gzip", p.archive))
	}
	mux.Handle("/v2/", registry)
	c.handler = mux
	return c, nil
}

// start serves until stop.
func (c *Charts) start(ctx context.Context) error {
	listener, err := c.port.listen(ctx)
	if err != nil {
		return fmt.Errorf("serving charts: %w", err)
	}
	c.server = &http.Server{Handler: c.handler, ReadHeaderTimeout: 10 * time.Second}
	c.finished.Go(func() { _ = c.server.Serve(listener) })
	return nil
}

func (c *Charts) stop() error {
	if c.server == nil {
		return nil
	}
	err := c.server.Close()
	c.finished.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("ending the chart server: %w", err)
	}
	return nil
}

// URL is the Helm repository.
func (c *Charts) URL() string { return "http://" + c.port.address() + "/kyverno/" }

// OCI is the reference under which the registry has a chart, without its tag.
// The registry speaks plain HTTP.
func (c *Charts) OCI(chart string) string {
	return "oci://" + path.Join(c.port.address(), "charts", chart)
}

// Mirrors maps the public repository and registry to this one, as Muster's
// --chart-mirror wants it.
func (c *Charts) Mirrors() map[string]string {
	return map[string]string{
		kyvernoRepository: c.URL(),
		kyvernoRegistry:   "http://" + c.port.address() + "/charts",
	}
}

func serveBytes(contentType string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
	}
}
