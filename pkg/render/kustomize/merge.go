// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/kustomize/kyaml/yaml/merge2"
	associative "sigs.k8s.io/kustomize/kyaml/yaml/schema"
)

// lock is held while kustomize's libraries work in this process: they keep their schemas in variables of
// their packages, which one build would read while another fills them.
var lock sync.Mutex

// Merge returns the JSON object with a strategic merge patch, which is JSON as well; nil
// if the patch deletes the object. An error may quote both.
func Merge(patch, object []byte) (out []byte, err error) {
	lock.Lock()
	defer lock.Unlock()
	defer func() {
		if reason := recover(); reason != nil { // as builds do, see run
			out, err = nil, fmt.Errorf("the library panicked: %v", reason)
		}
	}()
	from, err := yaml.Parse(asYAML(patch))
	if err != nil {
		return nil, err
	}
	to, err := yaml.Parse(asYAML(object))
	if err != nil {
		return nil, err
	}
	if effort(to.YNode(), schemaOf(to))+effort(from.YNode(), schemaOf(to)) > maxEffort {
		return nil, errEffort
	}
	merged, err := merge2.Merge(from, to, yaml.MergeOptions{ListIncreaseDirection: yaml.MergeOptionsListPrepend})
	if err != nil || merged.IsNilOrEmpty() {
		return nil, err
	}
	return merged.MarshalJSON()
}

// maxEffort bounds a merge, which nothing can interrupt. The library compares each element
// of a list that is merged with each other one, and each key of a mapping with each other
// one, which is keyEffort times as fast: a list of 550 elements takes a third of a second.
const (
	maxEffort = 300_000
	keyEffort = 32
)

var errEffort = errors.New("a list or mapping in it has too many elements to be merged; a JSON patch (RFC 6902) has no such limit")

// effort is what merging takes, in comparisons of elements.
func effort(node *yaml.Node, schema *openapi.ResourceSchema) int {
	total := 0
	switch {
	case node.Kind == yaml.MappingNode:
		keys := len(node.Content) / 2
		total = keys * keys / keyEffort
		for i := range keys {
			var field *openapi.ResourceSchema
			if schema != nil {
				field = schema.Field(node.Content[2*i].Value)
			}
			total += effort(node.Content[2*i+1], field)
		}
	case node.Kind == yaml.SequenceNode && associative.IsAssociative(schema, nil, false):
		total = len(node.Content) * len(node.Content)
		elements := schema.Elements()
		for _, element := range node.Content {
			total += effort(element, elements)
		}
	}
	return total
}

// schemaOf is the schema by which the library merges an object, nil if it knows none.
func schemaOf(object *yaml.RNode) *openapi.ResourceSchema {
	meta, err := object.GetMeta()
	if err != nil {
		return nil
	}
	return openapi.SchemaForResourceType(meta.TypeMeta)
}

// asYAML makes YAML of JSON. It is quoted throughout, so that nothing of it changes its
// type; but YAML wants characters escaped that JSON does not, and knows no surrogates.
func asYAML(text []byte) string {
	var out strings.Builder
	out.Grow(len(text))
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			out.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			fmt.Fprintf(&out, `\U%08x`, r)
		}
	}
	return out.String()
}
