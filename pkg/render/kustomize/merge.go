// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"fmt"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/kustomize/kyaml/yaml/merge2"
)

// lock is held while kustomize's libraries work in this process: they keep their schemas in variables of
// their packages, which one build would read while another fills them.
var lock sync.Mutex

// Merge returns the JSON object with a strategic merge patch, which is JSON as well; nil
// if the patch deletes the object. An error may quote both.
func Merge(patch, object []byte) ([]byte, error) {
	lock.Lock()
	defer lock.Unlock()
	from, err := yaml.Parse(asYAML(patch))
	if err != nil {
		return nil, err
	}
	to, err := yaml.Parse(asYAML(object))
	if err != nil {
		return nil, err
	}
	merged, err := merge2.Merge(from, to, yaml.MergeOptions{ListIncreaseDirection: yaml.MergeOptionsListPrepend})
	if err != nil || merged.IsNilOrEmpty() {
		return nil, err
	}
	return merged.MarshalJSON()
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
