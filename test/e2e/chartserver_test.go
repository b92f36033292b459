// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A chart that tests deploy beside each other: all that it makes is in the
// release's namespace and named for the release. The fleet's own kyverno has
// cluster-scoped objects, of which a cluster takes one set.
const settingsTemplate = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  version: {{ .Chart.Version | quote }}
  color: {{ .Values.color | quote }}
`

// chartArchive packages a chart that has one template and one value.
func chartArchive(name, version, template string) []byte {
	var buffer bytes.Buffer
	compressed := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(compressed)
	for file, content := range map[string]string{
		"Chart.yaml":              fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version),
		"values.yaml":             "color: grey\n",
		"templates/settings.yaml": template,
	} {
		// Neither of these fails on a buffer.
		_ = archive.WriteHeader(&tar.Header{Name: name + "/" + file, Mode: 0o644, Size: int64(len(content))})
		_, _ = archive.Write([]byte(content))
	}
	_, _ = archive.Close(), compressed.Close()
	return buffer.Bytes()
}

func (s *scope) chartRepository() string {
	s.Helper()
	return chartRepository(s.T)
}

// chartRepository serves a Helm repository for as long as the test runs:
// settings at 1.0.0 and 1.1.0, unrenderable and garbage at 1.0.0, absent in
// the index alone. It returns the repository's URL.
func chartRepository(t *testing.T) string {
	t.Helper()
	files := map[string][]byte{
		"settings-1.0.0.tgz":     chartArchive("settings", "1.0.0", settingsTemplate),
		"settings-1.1.0.tgz":     chartArchive("settings", "1.1.0", settingsTemplate),
		"unrenderable-1.0.0.tgz": chartArchive("unrenderable", "1.0.0", `{{ required "a color is needed, says the chart" .Values.none }}`),
		"garbage-1.0.0.tgz":      chartArchive("garbage", "1.0.0", "this: is: no: YAML\n"),
		"broken-1.0.0.tgz":       []byte("no archive at all"),
	}
	var index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n")
	for _, chart := range []struct{ name, versions string }{
		{"settings", "1.1.0 1.0.0"}, {"unrenderable", "1.0.0"}, {"garbage", "1.0.0"}, {"broken", "1.0.0"}, {"absent", "1.0.0"},
	} {
		fmt.Fprintf(&index, "  %s:\n", chart.name)
		for _, version := range strings.Fields(chart.versions) {
			file := chart.name + "-" + version + ".tgz"
			fmt.Fprintf(&index, "  - {apiVersion: v2, name: %s, version: %s, urls: [%s], digest: %x}\n",
				chart.name, version, file, sha256.Sum256(files[file]))
		}
	}
	files["index.yaml"] = []byte(index.String())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// chartEntry is an entry of helmCharts for a chart of a chartRepository: a
// release in contentNamespace. more is further fields in YAML's flow style.
func chartEntry(repository, chart, version, release, more string) string {
	return fmt.Sprintf("{repositoryURL: %q, repositoryName: tests, chartName: tests/%s, chartVersion: %s, releaseName: %s, releaseNamespace: %s%s}",
		repository, chart, version, release, contentNamespace, more)
}
