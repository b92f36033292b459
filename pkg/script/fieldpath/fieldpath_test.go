// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fieldpath_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/script/fieldpath"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]fieldpath.Path{
		"spec":                       {"spec"},
		"spec.replicas":              {"spec", "replicas"},
		".spec.replicas":             {"spec", "replicas"},
		"metadata.labels['a.b/c'].x": {"metadata", "labels", "a.b/c", "x"},
		`metadata.labels["it's"]`:    {"metadata", "labels", "it's"},
		"spec.ports[0].port":         {"spec", "ports", "0", "port"},
		"spec.ports.0.port":          {"spec", "ports", "0", "port"},
		"['a'].b":                    {"a", "b"},
		"data.tls-ca_x":              {"data", "tls-ca_x"},
	} {
		got, err := fieldpath.Parse(text)
		if err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                              "names no field",
		".":                             "names no field",
		"a..b":                          "empty name",
		"a.":                            "empty name",
		"a.['b']":                       "empty name",
		"a[b]":                          "neither a number",
		"a[-1]":                         "neither a number",
		"a[*]":                          "neither a number",
		"a[0":                           "not closed",
		"a['b":                          "does not end",
		"a['b'":                         "does not end",
		"a['b']c":                       "no dot or bracket",
		"a['']":                         "empty name",
		strings.Repeat("a.", 200) + "a": "deeper than",
	} {
		if got, err := fieldpath.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
}

func object() map[string]any {
	return map[string]any{
		"spec": map[string]any{"replicas": int64(1), "ports": []any{map[string]any{"port": int64(80)}, map[string]any{"port": int64(81)}}},
		"none": nil,
	}
}

func TestGetWithAndWithout(t *testing.T) {
	for _, tc := range []struct {
		path  string
		found bool
		with  any // nil: cannot be set
	}{
		{"spec.replicas", true, "x"},
		{"spec.ports[1].port", true, "x"},
		{"spec.ports[0]", true, "x"},
		{"spec.ports[2].port", false, nil},
		{"spec.ports.first", false, nil},
		{"spec.replicas.more", false, nil},
		{"spec.more.and.more", false, "x"},
		{"none", true, "x"},
		{"none.more", false, "x"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			path, err := fieldpath.Parse(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			given := object()
			if _, found := path.Get(given); found != tc.found {
				t.Errorf("found is %t", found)
			}
			changed, err := path.With(given, "x")
			if (err == nil) != (tc.with != nil) {
				t.Errorf("With() = %v, %v", changed, err)
			}
			if value, found := path.Get(changed); err == nil && (!found || value != tc.with) {
				t.Errorf("afterwards it is %v, %t", value, found)
			}
			removed := path.Without(given)
			if !tc.found && cmp.Diff(any(object()), removed) != "" {
				t.Errorf("removing what is not there made %v", removed)
			}
			if tc.found && cmp.Diff(any(object()), removed) == "" {
				t.Error("nothing was removed")
			}
			if diff := cmp.Diff(object(), given); diff != "" {
				t.Errorf("the object was written to:\n%s", diff)
			}
		})
	}
}

// Whatever was set is there, and is gone once it was removed.
func TestWhatIsSetIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := fieldpath.Path(rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 1, 5).Draw(t, "path"))
		changed, err := path.With(object(), "mark")
		if err != nil {
			return // through a number or a list
		}
		if value, found := path.Get(changed); !found || value != "mark" {
			t.Fatalf("%q is %v, %t", path, value, found)
		}
		if _, found := path.Get(path.Without(changed)); found {
			t.Fatalf("%q is there after its removal", path)
		}
	})
}
