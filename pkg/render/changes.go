// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// Changes are what a profile changes in every object that it renders, whatever the object
// comes from: first its patches, in their order, then the extra labels and annotations,
// which override those of the object. The zero value changes nothing. Changes are
// immutable and safe for concurrent use.
type Changes struct {
	patches     []patch
	labels      map[string]string
	annotations map[string]string
	hash        string
}

// NewChanges checks patches, labels and annotations, templates in which are rendered
// already. Its errors are *PatchError, or say which label or annotation is none.
func NewChanges(patches []Patch, labels, annotations map[string]string) (*Changes, error) {
	c := &Changes{labels: labels, annotations: annotations}
	for _, p := range patches {
		compiled, err := p.compile()
		if err != nil {
			return nil, p.wrap("", err)
		}
		c.patches = append(c.patches, compiled)
	}
	if err := checkExtra(labels, annotations); err != nil {
		return nil, err
	}
	if len(patches) == 0 && len(labels) == 0 && len(annotations) == 0 {
		return c, nil
	}
	var err error
	c.hash, err = hashChanges(patches, labels, annotations)
	return c, err
}

func checkExtra(labels, annotations map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if problems := validation.IsValidLabelValue(labels[key]); len(problems) > 0 {
			return &contentError{what: fmt.Sprintf("extraLabels[%s] is no value of a label", clip(key)), detail: problems[0]}
		}
	}
	for _, extra := range []map[string]string{labels, annotations} {
		for _, key := range slices.Sorted(maps.Keys(extra)) {
			if problems := validation.IsQualifiedName(key); len(problems) > 0 {
				return &contentError{what: fmt.Sprintf("%q is no key of a label or annotation", clip(key)), detail: problems[0]}
			}
		}
	}
	return nil
}

// hashChanges hashes what was asked for, and nothing that another build would write
// otherwise: a chart is deployed again when the hash changes.
func hashChanges(patches []Patch, labels, annotations map[string]string) (string, error) {
	type asked struct {
		Text   string       `json:"text"`
		Target *PatchTarget `json:"target,omitempty"`
	}
	all := make([]asked, 0, len(patches))
	for _, p := range patches {
		all = append(all, asked{p.Text, p.Target})
	}
	encoded, err := json.Marshal([]any{all, labels, annotations})
	if err != nil {
		return "", fmt.Errorf("encoding the patches: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:16]), nil
}

// Hash is of all that is changed, in hexadecimal; empty if nothing is.
func (c *Changes) Hash() string { return c.hash }

// Empty reports whether nothing is changed.
func (c *Changes) Empty() bool { return c == nil || c.hash == "" }

// Apply returns the objects as they are after the changes, in the same order, without
// those that a patch deletes. Objects that nothing changes are returned as they are;
// none is written to. secret says that no error may quote them. Errors are *PatchError.
func (c *Changes) Apply(objects []*unstructured.Unstructured, secret bool) ([]*unstructured.Unstructured, error) {
	if c.Empty() {
		return objects, nil
	}
	out := make([]*unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		changed, err := c.apply(object, secret)
		if err != nil {
			return nil, err
		}
		if changed != nil {
			out = append(out, changed)
		}
	}
	return out, CheckDistinct(out)
}

func (c *Changes) apply(object *unstructured.Unstructured, secret bool) (*unstructured.Unstructured, error) {
	for i := range c.patches {
		p := &c.patches[i]
		if !p.matches(object) {
			continue
		}
		changed, err := p.apply(object)
		if err != nil {
			withhold := secret || object.GetKind() == "Secret"
			if withhold {
				err = WithoutContent(err)
			}
			return nil, p.wrap(objectName(object.Object), err)
		}
		if object = changed; object == nil {
			return nil, nil
		}
	}
	return c.withExtra(object), nil
}

func (c *Changes) withExtra(object *unstructured.Unstructured) *unstructured.Unstructured {
	if len(c.labels) == 0 && len(c.annotations) == 0 {
		return object
	}
	object = object.DeepCopy()
	if len(c.labels) > 0 {
		object.SetLabels(overlay(object.GetLabels(), c.labels))
	}
	if len(c.annotations) > 0 {
		object.SetAnnotations(overlay(object.GetAnnotations(), c.annotations))
	}
	return object
}

func overlay(under, over map[string]string) map[string]string {
	out := make(map[string]string, len(under)+len(over))
	maps.Copy(out, under)
	maps.Copy(out, over)
	return out
}

// CheckDistinct refuses objects of which two have become one, by being renamed or put into
// one namespace.
func CheckDistinct(objects []*unstructured.Unstructured) error {
	seen := make(map[identity]bool, len(objects))
	for _, object := range objects {
		gvk := object.GroupVersionKind()
		id := identity{gvk.Group, gvk.Kind, object.GetNamespace(), object.GetName()}
		if seen[id] {
			return &contentError{what: "after patches and namespaces, " + objectName(object.Object) + " is there twice", reason: ErrDuplicate}
		}
		seen[id] = true
	}
	return nil
}

// Manifests applies the changes to manifests, as a chart renders them. secret and errors
// are as with Apply; manifests that are none are a *PatchError too.
func (c *Changes) Manifests(manifests []byte, secret bool) ([]byte, error) {
	objects, err := parseManifests(manifests)
	if err != nil {
		if secret {
			err = WithoutContent(err)
		}
		return nil, &PatchError{Patch: "the manifests to be patched", Err: err}
	}
	if objects, err = c.Apply(objects, secret); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, fmt.Errorf("writing the patched %s: %w", objectName(object.Object), err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

func parseManifests(manifests []byte) ([]*unstructured.Unstructured, error) {
	documents, err := SplitYAML(manifests)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, document := range documents {
		decoded, err := decodeDocument(document)
		if err != nil {
			return nil, err
		}
		if decoded == nil {
			continue
		}
		expanded, refused := expand(decoded)
		if refused != nil {
			return nil, refused
		}
		for _, object := range expanded {
			u, err := checkObject(object)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", objectName(object), err)
			}
			objects = append(objects, u)
		}
	}
	return objects, nil
}
