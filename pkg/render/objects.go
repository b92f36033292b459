// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/script"
)

// Objects returns the objects of a source for one cluster: those of its keys in
// alphabetical order, within a key in the order of the documents, with the items of lists
// in the list's place. clusterData is what templates see (TemplateData).
//
// An error means that nothing of the source may be used. It is a *SourceError or the
// context's error.
func (r *Renderer) Objects(ctx context.Context, source Source, clusterData map[string]any) ([]*unstructured.Unstructured, error) {
	b := &builder{source: source, seen: map[identity]place{}}
	if err := source.Check(); err != nil {
		return nil, b.wrap(err)
	}
	texts, failed, failure := r.texts(ctx, source, clusterData)
	parsed, key := r.Parsed, textKey{}
	if failure != nil || source.Private || source.Kind == "Secret" {
		parsed = nil // what is secret is not kept longer than it is used
	} else {
		key = keyOf(texts)
	}
	if objects, known := parsed.recall(key); known {
		return objects, nil
	}
	for _, t := range texts {
		b.key = t.key
		err := b.addKey(ctx, t.text)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, b.wrap(err)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if b.key = failed; failure != nil {
		return nil, b.wrap(failure)
	}
	if len(b.objects) == 0 {
		return nil, b.wrap(fmt.Errorf("%w; to deploy nothing, remove the reference to it", ErrEmpty))
	}
	parsed.keep(key, b.objects, b.size)
	return b.objects, nil
}

// texts returns what a source has under each key, in the order of the keys, as far as the
// first one that cannot be rendered, then its key and why, or the one with which it is more
// than may be parsed.
func (r *Renderer) texts(ctx context.Context, source Source, data map[string]any) (texts []keyed, failed string, failure error) {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(source.Data)) {
		text, err := r.text(ctx, source, key, data)
		if err != nil {
			return texts, key, err
		}
		texts = append(texts, keyed{key, text})
		if size += len(text); size > MaxSet {
			break
		}
	}
	return texts, "", nil
}

// Texts returns what a source holds for one cluster, key by key, rendered if it is a
// template. Errors are as with Objects.
func (r *Renderer) Texts(ctx context.Context, source Source, clusterData map[string]any) (map[string][]byte, error) {
	b := &builder{source: source}
	if err := source.CheckText(); err != nil {
		return nil, b.wrap(err)
	}
	out := make(map[string][]byte, len(source.Data))
	for _, b.key = range slices.Sorted(maps.Keys(source.Data)) {
		text, err := r.text(ctx, source, b.key, clusterData)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, b.wrap(err)
		}
		out[b.key] = text
	}
	return out, nil
}

// Check refuses sources whose meaning would be missed.
func (s Source) Check() error {
	if s.Kind == "Secret" && s.Type != SecretType {
		return fmt.Errorf("%w: it is %q, must be %q", ErrSecretType, s.Type, SecretType)
	}
	return nil
}

// text returns what a key holds, or what that makes if it is a template or a script.
func (r *Renderer) text(ctx context.Context, source Source, key string, data map[string]any) ([]byte, error) {
	text := source.Data[key]
	switch isTemplate := source.is(AnnotationTemplate); {
	case isTemplate && source.is(AnnotationLua):
		return nil, errLuaAndTemplate
	case source.is(AnnotationLua):
		return r.generate(ctx, key, string(text), data)
	case !isTemplate:
		return text, nil
	}
	rendered, err := r.Templates.RenderTemplate(ctx, script.Template{Name: key, Text: string(text), Data: data})
	return []byte(rendered), err
}

// identity is what there may be one of. The version is no part of it: the same object at
// two versions is one object.
type identity struct{ group, kind, namespace, name string }

// place is where in the source an object was found.
type place struct {
	key      string
	document int
}

// builder collects the objects of one source and knows where in it it is.
type builder struct {
	source   Source
	key      string
	document int
	object   string

	objects []*unstructured.Unstructured
	seen    map[identity]place
	text    int // bytes of text so far
	size    int // bytes of JSON so far
}

// wrap adds the place to an error and, if the source is a Secret, takes away what may
// quote it.
func (b *builder) wrap(err error) error {
	e := &SourceError{
		Kind: b.source.Kind, Namespace: b.source.Namespace, Name: b.source.Name,
		Key: b.key, Document: b.document, Object: b.object, Err: err,
	}
	if b.key != "" && (b.source.Kind == "Secret" || b.source.Private) {
		e.Object, e.Err = "", WithoutContent(err)
	}
	return e
}

func (b *builder) addKey(ctx context.Context, text []byte) error {
	if b.text += len(text); b.text > MaxSet {
		return tooLarge("the source up to this key", b.text, MaxSet)
	}
	documents, err := SplitYAML(text)
	if err != nil {
		return err
	}
	for i, document := range documents {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.document = i + 1
		if err := b.addDocument(document); err != nil {
			return err
		}
	}
	b.document = 0
	return nil
}

func (b *builder) addDocument(document []byte) error {
	decoded, err := decodeDocument(document)
	if err != nil || decoded == nil { // null, spelled out
		return err
	}
	objects, refused := expand(decoded)
	if refused != nil {
		return refused
	}
	for _, object := range objects {
		b.object = objectName(object)
		if err := b.addObject(object); err != nil {
			return err
		}
	}
	b.object = ""
	return nil
}

func (b *builder) addObject(object map[string]any) error {
	u, err := checkObject(object)
	if err != nil {
		return err
	}
	if err := b.checkSize(u); err != nil {
		return err
	}
	gk := u.GroupVersionKind().GroupKind()
	if err := b.checkFirst(gk, u); err != nil {
		return err
	}
	b.objects = append(b.objects, u)
	return nil
}

func (b *builder) checkSize(u *unstructured.Unstructured) error {
	encoded, err := json.Marshal(u.Object)
	if err != nil {
		return &contentError{what: "cannot be written as JSON", detail: err.Error()}
	}
	if len(encoded) > MaxObject {
		return tooLarge("the object", len(encoded), MaxObject)
	}
	if b.size += len(encoded); b.size > MaxSet {
		return tooLarge("the source up to this object", b.size, MaxSet)
	}
	return nil
}

func (b *builder) checkFirst(gk schema.GroupKind, u *unstructured.Unstructured) error {
	id := identity{gk.Group, gk.Kind, u.GetNamespace(), u.GetName()}
	if first, found := b.seen[id]; found {
		return &contentError{
			what:   fmt.Sprintf("%s, first in key %q, document %d", ErrDuplicate, first.key, first.document),
			reason: ErrDuplicate,
		}
	}
	b.seen[id] = place{b.key, b.document}
	return nil
}
