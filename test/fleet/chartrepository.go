// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"net/http"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// ChartSource is a chart of a test's own.
type ChartSource struct {
	// Files are the chart's, by their paths in it. The version that Chart.yaml
	// has is replaced.
	Files map[string]string
	// Versions are those that the repository has; templates see which one they
	// are rendered for.
	Versions []string
}

// ChartRepository serves charts as a Helm repository, its index.yaml at the root.
func ChartRepository(sources ...ChartSource) (http.Handler, error) {
	var packages []*chartPackage
	for _, source := range sources {
		var files []*loader.BufferedFile
		for name, content := range source.Files {
			files = append(files, &loader.BufferedFile{Name: name, Data: []byte(content)})
		}
		for _, version := range source.Versions {
			p, err := packageChart(files, edition{version: version})
			if err != nil {
				return nil, fmt.Errorf("packaging a chart at %s: %w", version, err)
			}
			packages = append(packages, p)
		}
	}
	index, err := repositoryIndex(packages)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /index.yaml", serveBytes("application/yaml", index))
	for _, p := range packages {
		mux.HandleFunc("GET /"+p.file(), serveBytes("application/gzip", p.archive))
	}
	return mux, nil
}
