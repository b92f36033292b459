// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"

	"k8s.io/utils/lru"
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
	// remembered is how many results a Builder keeps, and maxRemembered the bytes that
	// one of them may have to be kept.
	remembered    = 64
	maxRemembered = 1 << 20
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

// Builder builds kustomizations and remembers the results, so that many clusters cost one
// build. It is safe for concurrent use.
type Builder struct {
	// CheckYAML refuses YAML that a parser should not be given. Required.
	CheckYAML func([]byte) error

	results *lru.Cache
}

// NewBuilder returns a Builder.
func NewBuilder(checkYAML func([]byte) error) *Builder {
	return &Builder{CheckYAML: checkYAML, results: lru.New(remembered)}
}

// Build returns the objects of a kustomization as YAML documents. Errors are *Error or
// the context's.
func (b *Builder) Build(ctx context.Context, request Request) ([]byte, error) {
	key, err := request.key()
	if err != nil {
		return nil, err
	}
	if known, ok := b.results.Get(key); ok {
		return known.([]byte), nil
	}
	lock.Lock()
	defer lock.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Whoever waited for the lock may have waited for this very build.
	if known, ok := b.results.Get(key); ok {
		return known.([]byte), nil
	}
	built, err := b.build(request)
	if err == nil && len(built) <= maxRemembered {
		b.results.Add(key, built)
	}
	return built, err
}

func (r Request) key() ([sha256.Size]byte, error) {
	encoded, err := json.Marshal([]any{r.Digest, r.Path, r.Components})
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encoding the kustomization's path: %w", err)
	}
	return sha256.Sum256(encoded), nil
}

func (b *Builder) build(request Request) ([]byte, error) {
	root, err := cleanDirectory(request.Path)
	if err != nil {
		return nil, err
	}
	files, err := withComponents(request, root)
	if err != nil {
		return nil, err
	}
	if err := newChecker(files, b.CheckYAML).directory(root, 0); err != nil {
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
