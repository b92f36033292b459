// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"slices"
	"strings"
	"unique"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
)

// member is a fleet.Member in the form in which an index can hold 100,000 of
// them: its labels are a sorted list of shared strings, which takes a fifth of
// what a map takes. It never changes once it is in a roster, so that readers
// may go on with one after they have released the lock.
type member struct {
	ref    fleet.Ref
	uid    types.UID
	labels []label

	ready, everReady, deleting, paused bool
}

type label struct{ key, value unique.Handle[string] }

func newMember(from fleet.Member) *member {
	m := &member{
		ref:       from.Ref,
		uid:       from.UID,
		ready:     from.Ready,
		everReady: from.EverReady,
		deleting:  from.Deleting,
		paused:    from.Paused,
	}
	if len(from.Labels) > 0 {
		m.labels = make([]label, 0, len(from.Labels))
	}
	for key, value := range from.Labels {
		m.labels = append(m.labels, label{unique.Make(key), unique.Make(value)})
	}
	slices.SortFunc(m.labels, func(a, b label) int {
		return strings.Compare(a.key.Value(), b.key.Value())
	})
	return m
}

// export gives the member back in the form that it came in.
func (m *member) export() fleet.Member {
	labels := make(map[string]string, len(m.labels))
	for _, l := range m.labels {
		labels[l.key.Value()] = l.value.Value()
	}
	return fleet.Member{
		Ref:       m.ref,
		UID:       m.uid,
		Labels:    labels,
		Ready:     m.ready,
		EverReady: m.everReady,
		Deleting:  m.deleting,
		Paused:    m.paused,
	}
}

// matchesLike reports whether both match the same sets.
func (m *member) matchesLike(other *member) bool {
	return m.deleting == other.deleting && slices.Equal(m.labels, other.labels)
}

// sameAs reports whether nothing at all differs.
func (m *member) sameAs(other *member) bool {
	return m.matchesLike(other) && m.uid == other.uid &&
		m.ready == other.ready && m.everReady == other.everReady && m.paused == other.paused
}

// Lookup, Has and Get make a *member the labels.Labels that selectors ask.

func (m *member) Lookup(key string) (string, bool) {
	for _, l := range m.labels {
		if l.key.Value() == key {
			return l.value.Value(), true
		}
	}
	return "", false
}

func (m *member) Has(key string) bool {
	_, has := m.Lookup(key)
	return has
}

func (m *member) Get(key string) string {
	value, _ := m.Lookup(key)
	return value
}
