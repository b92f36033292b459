// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"sync"

	"sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/kustomize/kyaml/yaml/merge2"
)

// lock is held while kustomize's libraries work: they keep their schemas in variables of
// their packages, which one build would read while another fills them.
var lock sync.Mutex

// Merge returns the JSON object with a strategic merge patch, which is JSON as well; nil
// if the patch deletes the object. An error may quote both.
func Merge(patch, object []byte) ([]byte, error) {
	lock.Lock()
	defer lock.Unlock()
	// JSON is YAML, and as it is quoted throughout, nothing of it changes its type.
	from, err := yaml.Parse(string(patch))
	if err != nil {
		return nil, err
	}
	to, err := yaml.Parse(string(object))
	if err != nil {
		return nil, err
	}
	merged, err := merge2.Merge(from, to, yaml.MergeOptions{ListIncreaseDirection: yaml.MergeOptionsListPrepend})
	if err != nil || merged.IsNilOrEmpty() {
		return nil, err
	}
	return merged.MarshalJSON()
}
