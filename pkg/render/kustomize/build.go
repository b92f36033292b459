// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"path"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	// MaxInput is how many bytes the files of one build may have, each counted as often
	// as the build reads it: overlays of one base multiply it.
	MaxInput = 8 << 20
	// maxDirectories is how many directories one build may visit, each counted as often.
	maxDirectories = 1000
	// maxDepth is how deep kustomizations may refer to each other.
	maxDepth = 50
)

// Error says what is wrong with a kustomization.
type Error struct {
	// What is wrong, in words that quote nothing of the files.
	What string
	// Detail may quote the files; empty if there is nothing to add.
	Detail string
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.What
	}
	return e.What + ": " + e.Detail
}

// WithoutContent returns the error without what may quote the files.
func (e *Error) WithoutContent() error { return &Error{What: e.What} }

// Request is one build.
type Request struct {
	// Files by their paths, which have slashes between and none in front. They are not
	// written to.
	Files map[string][]byte
	// Digest identifies the files: equal digests, equal files.
	Digest string
	// Path is the directory of the kustomization, relative to the root; empty for the
	// root.
	Path string
	// Components are directories of components to add, relative to Path.
	Components []string
}

// build builds a kustomization. It runs in a worker.
func build(request Request, checkYAML func([]byte) error) ([]byte, error) {
	root, err := cleanDirectory(request.Path)
	if err != nil {
		return nil, err
	}
	files, err := withComponents(request, root)
	if err != nil {
		return nil, err
	}
	if err := newChecker(files, checkYAML).directory(root, 0); err != nil {
		return nil, err
	}
	fs := filesys.MakeFsInMemory()
	for name, content := range files {
		if err := fs.WriteFile("/"+name, content); err != nil {
			return nil, &Error{What: "the files cannot be laid out", Detail: err.Error()}
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, path.Join("/", root))
	if err != nil {
		return nil, &Error{What: "cannot be built", Detail: err.Error()}
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, &Error{What: "cannot be built", Detail: err.Error()}
	}
	return text, nil
}

// cleanDirectory returns a directory of the source without "." and "..", "." for its root.
func cleanDirectory(directory string) (string, error) {
	if path.IsAbs(directory) {
		directory = "." + directory // upstream joins it to the root
	}
	cleaned := path.Clean(directory)
	if cleaned == ".." || len(cleaned) > 2 && cleaned[:3] == "../" {
		return "", &Error{What: "its path leaves the source", Detail: directory}
	}
	return cleaned, nil
}

// withComponents returns the files with the components added to the kustomization.
func withComponents(request Request, root string) (map[string][]byte, error) {
	if len(request.Components) == 0 {
		return request.Files, nil
	}
	name, err := kustomizationFile(request.Files, root)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := yaml.Unmarshal(request.Files[name], &fields); err != nil {
		return nil, &Error{What: "its kustomization file is not YAML", Detail: err.Error()}
	}
	components, ok := fields["components"].([]any)
	if !ok && fields["components"] != nil {
		return nil, &Error{What: "the components of its kustomization file are no list"}
	}
	for _, component := range request.Components {
		components = append(components, component)
	}
	fields["components"] = components
	changed, err := yaml.Marshal(fields)
	if err != nil {
		return nil, &Error{What: "components cannot be added", Detail: err.Error()}
	}
	files := make(map[string][]byte, len(request.Files))
	for file, content := range request.Files {
		files[file] = content
	}
	files[name] = changed
	return files, nil
}

// kustomizationFile returns the path of the one kustomization file of a directory.
func kustomizationFile(files map[string][]byte, directory string) (string, error) {
	found := ""
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(directory, name)
		if _, ok := files[file]; !ok {
			continue
		}
		if found != "" {
			return "", &Error{What: "a directory has two kustomization files", Detail: directory}
		}
		found = file
	}
	if found == "" {
		return "", &Error{What: "there is no kustomization file in its directory", Detail: directory}
	}
	return found, nil
}
