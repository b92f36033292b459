// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// kustomization is the part of a kustomization file that refers to something, in all the
// fields that there are and have been for it.
type kustomization struct {
	Resources             []string          `json:"resources"`
	Bases                 []string          `json:"bases"`
	Components            []string          `json:"components"`
	Generators            []string          `json:"generators"`
	Transformers          []string          `json:"transformers"`
	Validators            []string          `json:"validators"`
	Crds                  []string          `json:"crds"`
	Configurations        []string          `json:"configurations"`
	Patches               []patchReference  `json:"patches"`
	PatchesJSON6902       []patchReference  `json:"patchesJson6902"`
	PatchesStrategicMerge []string          `json:"patchesStrategicMerge"`
	Replacements          []patchReference  `json:"replacements"`
	ConfigMapGenerator    []pairSources     `json:"configMapGenerator"`
	SecretGenerator       []pairSources     `json:"secretGenerator"`
	OpenAPI               map[string]string `json:"openapi"`

	HelmCharts                  []json.RawMessage `json:"helmCharts"`
	HelmGlobals                 json.RawMessage   `json:"helmGlobals"`
	HelmChartInflationGenerator []json.RawMessage `json:"helmChartInflationGenerator"`
}

// patchReference is a patch or a replacement: the path of a file, or the text itself.
type patchReference struct {
	Path  string `json:"path"`
	Patch string `json:"patch"`
}

// pairSources are what a ConfigMap or Secret is made of.
type pairSources struct {
	Files []string `json:"files"`
	Envs  []string `json:"envs"`
	Env   string   `json:"env"`
}

// parse reads a kustomization file exactly as kustomize does, which takes the names of
// fields in any case, and then what it read.
func parse(content []byte) (*kustomization, error) {
	read := &types.Kustomization{}
	if err := read.Unmarshal(bytes.TrimPrefix(content, []byte("\ufeff"))); err != nil {
		return nil, err
	}
	read.FixKustomization()
	if problems := read.EnforceFields(); len(problems) > 0 {
		return nil, errors.New(problems[0])
	}
	encoded, err := json.Marshal(read)
	if err != nil {
		return nil, err
	}
	k := &kustomization{}
	if err := json.Unmarshal(encoded, k); err != nil {
		return nil, err
	}
	return k, nil
}

// documents are the files with YAML that a kustomization refers to besides its resources,
// and the texts with YAML in it.
func (k *kustomization) documents() (files, texts []string) {
	for _, list := range [][]patchReference{k.Patches, k.PatchesJSON6902, k.Replacements} {
		for _, reference := range list {
			files, texts = append(files, reference.Path), append(texts, reference.Patch)
		}
	}
	for _, patch := range k.PatchesStrategicMerge {
		if isInline(patch) {
			texts = append(texts, patch)
		} else {
			files = append(files, patch)
		}
	}
	files = append(files, k.Crds...)
	return append(files, k.Configurations...), texts
}

// isInline tells a text from the path of a file with it.
func isInline(entry string) bool { return strings.Contains(entry, "\n") }

// data are the files that a kustomization makes ConfigMaps and Secrets of.
func (k *kustomization) data() []string {
	var files []string
	for _, list := range [][]pairSources{k.ConfigMapGenerator, k.SecretGenerator} {
		for _, sources := range list {
			files = append(append(files, sources.Env), sources.Envs...)
			for _, source := range sources.Files {
				if _, file, found := strings.Cut(source, "="); found {
					source = file
				}
				files = append(files, source)
			}
		}
	}
	return files
}

// refuseFeatures refuses what would reach out of the build: a chart is fetched by a
// program, and a schema is the schema of all builds of the process from then on.
func (k *kustomization) refuseFeatures() error {
	switch {
	case len(k.OpenAPI) > 0:
		return &Error{What: "openapi is not supported: a schema of one kustomization would be that of all"}
	case len(k.HelmCharts) > 0, len(k.HelmGlobals) > 0, len(k.HelmChartInflationGenerator) > 0:
		return &Error{What: "charts in a kustomization are not supported; use helmCharts of the profile"}
	}
	return nil
}
