// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"bytes"
	"path"
	"strings"
)

// checker goes through the kustomizations that a build would read, before it reads them.
// kustomize itself fetches what is a URL, and clones what looks like a repository.
type checker struct {
	files       map[string][]byte
	directories map[string]bool
	checkYAML   func([]byte) error

	budget  int // bytes that may still be read
	visited int // directories
	checked map[string]bool
}

func newChecker(files map[string][]byte, checkYAML func([]byte) error) *checker {
	c := &checker{
		files: files, directories: map[string]bool{".": true}, checkYAML: checkYAML,
		budget: MaxInput, checked: map[string]bool{},
	}
	for name := range files {
		for dir := path.Dir(name); !c.directories[dir]; dir = path.Dir(dir) {
			c.directories[dir] = true
		}
	}
	return c
}

// directory checks the kustomization of a directory and all that it refers to.
func (c *checker) directory(dir string, depth int) error {
	if c.visited++; c.visited > maxDirectories || depth > maxDepth {
		return &Error{What: "its kustomizations refer to too many others"}
	}
	if !c.directories[dir] {
		return &Error{What: "there is no such directory in the source", Detail: dir}
	}
	name, err := kustomizationFile(c.files, dir)
	if err != nil {
		return err
	}
	if err := c.read(name, true); err != nil {
		return err
	}
	k, err := parse(c.files[name])
	if err != nil {
		return &Error{What: "a kustomization file is not valid", Detail: name + ": " + err.Error()}
	}
	if err := k.refuseFeatures(); err != nil {
		return err
	}
	for _, list := range [][]string{k.Resources, k.Bases, k.Components} {
		for _, entry := range list {
			if err := c.resource(dir, entry, depth); err != nil {
				return err
			}
		}
	}
	for _, list := range [][]string{k.Generators, k.Transformers, k.Validators} {
		for _, entry := range list {
			if err := c.plugin(dir, entry); err != nil {
				return err
			}
		}
	}
	return c.references(dir, k)
}

// references checks the files and texts of a kustomization besides its resources.
func (c *checker) references(dir string, k *kustomization) error {
	files, texts := k.documents()
	for _, file := range files {
		if err := c.file(dir, file, true); err != nil {
			return err
		}
	}
	for _, text := range texts {
		if err := c.document("a patch", []byte(text)); err != nil {
			return err
		}
	}
	for _, file := range k.data() {
		if err := c.file(dir, file, false); err != nil {
			return err
		}
	}
	return nil
}

// resource checks an entry of resources or components, a file or a directory.
func (c *checker) resource(dir, entry string, depth int) error {
	target := path.Join(dir, entry)
	switch _, isFile := c.files[target]; {
	case path.IsAbs(entry):
		return &Error{What: "a resource has an absolute path", Detail: entry}
	case looksRemote(entry):
		return &Error{What: "a remote resource is not fetched: put it into the source", Detail: entry}
	case isFile:
		return c.read(target, true)
	case c.directories[target]:
		return c.directory(target, depth+1)
	}
	return &Error{What: "a resource is not in the source", Detail: entry + " in " + dir}
}

// file checks a reference to a file, which holds YAML or just bytes; none is none.
func (c *checker) file(dir, entry string, document bool) error {
	if entry == "" {
		return nil
	}
	target := path.Join(dir, entry)
	switch _, isFile := c.files[target]; {
	case path.IsAbs(entry):
		return &Error{What: "a file has an absolute path", Detail: entry}
	case hasURL(entry):
		return &Error{What: "a remote file is not fetched: put it into the source", Detail: entry}
	case !isFile:
		return &Error{What: "a file is not in the source", Detail: entry + " in " + dir}
	}
	return c.read(target, document)
}

// plugin checks a generator, transformer or validator: the text itself, or a file with it.
// A directory of them could make one that no check has seen.
func (c *checker) plugin(dir, entry string) error {
	text := []byte(entry)
	if !isInline(entry) {
		if err := c.file(dir, entry, true); err != nil {
			return err
		}
		text = c.files[path.Join(dir, entry)]
	} else if err := c.document("a generator or transformer", text); err != nil {
		return err
	}
	switch {
	case hasURL(string(text)):
		return &Error{What: "generators and transformers with a URL in them are not supported"}
	case bytes.Contains(text, []byte("HelmChartInflationGenerator")):
		return &Error{What: "charts in a kustomization are not supported; use helmCharts of the profile"}
	}
	return nil
}

// read counts a file that the build reads, and checks it if a parser reads it.
func (c *checker) read(name string, document bool) error {
	content := c.files[name]
	if c.budget -= len(content); c.budget < 0 {
		return &Error{What: "its files are too large, each counted as often as it is used"}
	}
	if !document || c.checked[name] {
		return nil
	}
	c.checked[name] = true
	return c.document(name, content)
}

// document refuses YAML whose aliases expand to too much: they are all that makes it
// larger than its text.
func (c *checker) document(name string, text []byte) error {
	if !bytes.ContainsRune(text, '&') || !bytes.ContainsRune(text, '*') {
		return nil
	}
	if err := c.checkYAML(text); err != nil {
		return &Error{What: "a document in it is not valid YAML", Detail: name + ": " + err.Error()}
	}
	return nil
}

// hasURL reports whether kustomize would fetch from somewhere in a text.
func hasURL(text string) bool {
	lower := strings.ToLower(text)
	return strings.Contains(lower, "http:") || strings.Contains(lower, "https:") || strings.Contains(lower, "://")
}

// looksRemote reports whether kustomize could take an entry for a repository.
func looksRemote(entry string) bool {
	lower := strings.ToLower(entry)
	for _, mark := range []string{"//", ":", "@", "github.com", ".git/", "_git/", "?"} {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	return strings.HasSuffix(lower, ".git")
}
