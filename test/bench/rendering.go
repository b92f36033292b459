// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
)

const (
	// renderClusters is how many clusters get one chart, and renderGoal how many times
	// as much that may cost as one does.
	renderClusters = 100
	renderGoal     = 2
	// renderTemplates is how many templates the chart has: a middle-sized one.
	renderTemplates = 40
	// renderKinds is how many kinds each cluster is said to serve.
	renderKinds = 150
)

// measureRendering is the part of G4 about charts that many clusters have in common. Like
// SCRIPT, it uses the worker processes of the shipped server, and nothing else of it.
func measureRendering(ctx context.Context, b *bench, report func(*Measure)) error {
	pool, stop, err := b.workers(ctx)
	if err != nil {
		return err
	}
	chart := renderChart()
	one, all := []float64{}, []float64{}
	for run := range 1 + b.repeat(20) {
		single, err := renderFor(ctx, rendering.New(pool), chart, 1)
		if err != nil {
			return stop(err)
		}
		many, err := renderFor(ctx, rendering.New(pool), chart, renderClusters)
		if err != nil {
			return stop(err)
		}
		if run > 0 { // the first one starts the worker
			one, all = append(one, milliseconds(single)), append(all, milliseconds(many))
		}
	}
	m := &Measure{Name: "G4"}
	report(m.Text("what", "render100").AtMost("ratio", median(all)/median(one), renderGoal, 2).
		Number("one_ms", median(one), 1).Number("all_ms", median(all), 1).
		Number("templates", renderTemplates, 0).Number("runs", float64(len(one)), 0))
	return stop(nil)
}

// renderFor renders a chart for clusters that all ask at once, as those do that a profile
// matches, and each serve something else.
func renderFor(ctx context.Context, renderer *rendering.Renderer, archive []byte, clusters int) (time.Duration, error) {
	sum := sha256.Sum256(archive)
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range clusters {
		group.Go(func() error {
			files, err := renderer.Render(ctx, rendering.Request{
				Archive: archive, Digest: hex.EncodeToString(sum[:]), Values: map[string]any{"replicas": int64(3)},
				Release:      rendering.Release{Name: "load", Namespace: "load", Revision: 1},
				Capabilities: rendering.Capabilities{Version: "v1.34.1", Major: "1", Minor: "34", APIVersions: kindsServed(i)},
			})
			if err == nil && len(files) < renderTemplates {
				err = fmt.Errorf("the chart made %d files", len(files))
			}
			return err
		})
	}
	err := group.Wait()
	return time.Since(began), err
}

// kindsServed are the kinds of one cluster: those of all, and one of its own.
func kindsServed(cluster int) []string {
	kinds := []string{fmt.Sprintf("cluster%d.example/v1/Thing", cluster)}
	for i := range renderKinds {
		kinds = append(kinds, fmt.Sprintf("group%d.example.com/v1/Kind%d", i%20, i))
	}
	return kinds
}

// renderChart is a chart whose result is the same for all clusters.
func renderChart() []byte {
	files := map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: load\nversion: 1.0.0\n",
		"values.yaml": "replicas: 1\nimage: {repository: registry.example/load, tag: 1.0.0}\n",
		"templates/_helpers.tpl": `{{ define "load.labels" }}{app: load, release: {{ .Release.Name | quote }}, version: {{ .Chart.Version | quote }}}{{ end }}` +
			`{{ define "load.name" }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}`,
	}
	for i := range renderTemplates {
		files[fmt.Sprintf("templates/deployment%d.yaml", i)] = fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "load.name" . }}-%[1]d
  labels: {{ include "load.labels" . }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {{ include "load.labels" . }}}
  template:
    metadata: {labels: {{ include "load.labels" . }}}
    spec:
      containers:
      - name: main
        image: {{ .Values.image.repository }}:{{ .Values.image.tag }}
        env:
        {{- range $i := until 20 }}
        - {name: VARIABLE_{{ $i }}, value: {{ printf "%%s-%%d" (include "load.name" $) $i | quote }}}
        {{- end }}
`, i)
	}
	return packChart(files)
}

// packChart makes the archive of a chart named load.
func packChart(files map[string]string) []byte {
	var buffer bytes.Buffer
	compressed := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(compressed)
	for file, content := range files {
		// Neither of these fails on a buffer.
		_ = archive.WriteHeader(&tar.Header{Name: "load/" + file, Mode: 0o644, Size: int64(len(content))})
		_, _ = archive.Write([]byte(content))
	}
	_, _ = archive.Close(), compressed.Close()
	return buffer.Bytes()
}
