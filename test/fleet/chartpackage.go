// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// edition is a version of a chart: the sources of testdata less what that
// version did not have yet.
type edition struct {
	version, appVersion string
	without             []string // templates and CRDs
}

// editions are those that the manifests in artifacts/examples name.
var editions = map[string][]edition{
	"kyverno": {
		{version: "3.3.3", appVersion: "v1.13.2"},
		{version: "3.0.1", appVersion: "v1.10.1", without: []string{
			"templates/reports-controller/pdb.yaml",
			"templates/policies/exception.yaml",
		}},
	},
}

// chartPackage is one version of a chart, packaged.
type chartPackage struct {
	metadata *chart.Metadata
	archive  []byte
}

func (p *chartPackage) file() string { return p.metadata.Name + "-" + p.metadata.Version + ".tgz" }

func (p *chartPackage) digest() string { return digestOf(p.archive) }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// packageCharts packages every edition of every chart.
func packageCharts(sources fs.FS) ([]*chartPackage, error) {
	var packages []*chartPackage
	for name, all := range editions {
		files, err := readChart(sources, path.Join("testdata/charts", name))
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			p, err := packageChart(files, e)
			if err != nil {
				return nil, fmt.Errorf("chart %s %s: %w", name, e.version, err)
			}
			packages = append(packages, p)
		}
	}
	return packages, nil
}

func readChart(sources fs.FS, root string) ([]*loader.BufferedFile, error) {
	var files []*loader.BufferedFile
	err := fs.WalkDir(sources, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(sources, name)
		if err != nil {
			return err
		}
		files = append(files, &loader.BufferedFile{Name: name[len(root)+1:], Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading chart %s: %w", root, err)
	}
	return files, nil
}

func packageChart(files []*loader.BufferedFile, e edition) (*chartPackage, error) {
	kept := slices.DeleteFunc(slices.Clone(files), func(f *loader.BufferedFile) bool {
		return slices.Contains(e.without, f.Name)
	})
	if len(kept) != len(files)-len(e.without) {
		return nil, fmt.Errorf("not all of %q are in its sources", e.without)
	}
	loaded, err := loader.LoadFiles(kept)
	if err != nil {
		return nil, err
	}
	loaded.Metadata.Version, loaded.Metadata.AppVersion = e.version, e.appVersion
	if err := loaded.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "charts-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, err := chartutil.Save(loaded, dir)
	if err != nil {
		return nil, err
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return &chartPackage{metadata: loaded.Metadata, archive: archive}, nil
}

// repositoryIndex is the index.yaml of a repository with these packages.
func repositoryIndex(packages []*chartPackage) ([]byte, error) {
	type entry struct {
		*chart.Metadata
		Created time.Time `json:"created"`
		Digest  string    `json:"digest"`
		URLs    []string  `json:"urls"`
	}
	entries := map[string][]entry{}
	for _, p := range packages {
		entries[p.metadata.Name] = append(entries[p.metadata.Name], entry{
			Metadata: p.metadata,
			Created:  time.Now().UTC(),
			Digest:   p.digest(),
			URLs:     []string{p.file()},
		})
	}
	data, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "entries": entries, "generated": time.Now().UTC()})
	if err != nil {
		return nil, fmt.Errorf("encoding the repository's index: %w", err)
	}
	return data, nil
}
