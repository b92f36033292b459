// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"k8s.io/apimachinery/pkg/labels"

	"github.com/muster-project/muster/pkg/fleet"
)

// matcher is rule 1 for one set, made once per spec.
type matcher struct {
	namespace string
	selector  labels.Selector
	refs      map[fleet.Ref]struct{}
}

func newMatcher(spec Spec) matcher {
	m := matcher{namespace: spec.Set.Namespace, selector: restricting(spec.Selector)}
	if len(spec.Refs) > 0 {
		m.refs = make(map[fleet.Ref]struct{}, len(spec.Refs))
	}
	for _, ref := range spec.Refs {
		if ref.Namespace == "" {
			ref.Namespace = m.namespace
		}
		m.refs[ref] = struct{}{}
	}
	return m
}

// restricting returns a selector that can be asked right away: one that asks
// for nothing selects nothing, and not everything as it would in Kubernetes.
func restricting(selector labels.Selector) labels.Selector {
	if selector == nil || selector.Empty() {
		return labels.Nothing()
	}
	return selector
}

// sees reports whether clusters of the namespace are in the set's sight.
func (m matcher) sees(namespace string) bool {
	return m.namespace == "" || m.namespace == namespace
}

// matches is rule 1 for a cluster that exists.
func (m matcher) matches(ref fleet.Ref, set labels.Labels, deleting bool) bool {
	if deleting || !m.sees(ref.Namespace) {
		return false
	}
	if _, named := m.refs[ref]; named {
		return true
	}
	return m.selector.Matches(set)
}
