// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package dependency

import (
	"slices"
	"strings"
	"testing"
)

var profiles = map[string][]string{
	"app": {"database", "mesh"}, "database": {"storage"}, "mesh": {"certificates"}, "certificates": nil, "storage": nil,
	"a": {"b"}, "b": {"c", "storage"}, "c": {"d", "a"}, "d": nil, "self": {"self"}, "lost": {"nobody"},
}

func TestCycle(t *testing.T) {
	for name, want := range map[string]string{
		"app": "", "storage": "", "lost": "", "d": "", "a": "a b c a", "b": "b c a b", "self": "self self",
	} {
		if got := strings.Join(Cycle(name, func(name string) []string { return profiles[name] }), " "); got != want {
			t.Errorf("from %s: %q, want %q", name, got, want)
		}
	}
}

func TestDependants(t *testing.T) {
	for name, want := range map[string]string{
		"app": "", "storage": "a app b c database", "certificates": "app mesh", "nobody": "lost", "a": "b c", "self": "",
	} {
		got := Dependants(profiles, name)
		if strings.Join(got, " ") != want || !slices.IsSorted(got) {
			t.Errorf("of %s: %q, want %q", name, got, want)
		}
	}
}
