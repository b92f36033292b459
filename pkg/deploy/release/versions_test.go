// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"testing"
)

func TestPickVersion(t *testing.T) {
	tests := map[string]struct {
		wanted    string
		available []string
		want      string
		reason    Reason
	}{
		"the same":                         {"3.3.3", []string{"3.3.4", "3.3.3"}, "3.3.3", ""},
		"with a v, of one without":         {"v3.3.3", []string{"3.3.4", "3.3.3"}, "3.3.3", ""},
		"without a v, of one with":         {"3.3.3", []string{"v3.3.4", "v3.3.3"}, "v3.3.3", ""},
		"with a v, of both":                {"v3.3.3", []string{"3.3.3", "v3.3.3"}, "v3.3.3", ""},
		"a pre-release by name":            {"1.0.0-rc.1", []string{"1.0.0-rc.1"}, "1.0.0-rc.1", ""},
		"build metadata":                   {"1.0.0+up2", []string{"1.0.0", "1.0.0+up2"}, "1.0.0+up2", ""},
		"what is no semantic version":      {"2024.1", []string{"2024.1", "2023.9"}, "2024.1", ""},
		"the highest of a range":           {"~3.3", []string{"3.3.3", "3.3.10", "3.4.0"}, "3.3.10", ""},
		"two digits":                       {"3.3", []string{"3.3.3", "3.3.10", "3.4.0"}, "3.3.10", ""},
		"a range knows no pre-release":     {">=1", []string{"2.0.0-rc.1", "1.5.0"}, "1.5.0", ""},
		"a range that names a pre-release": {">=1-0", []string{"2.0.0-rc.1", "1.5.0"}, "2.0.0-rc.1", ""},
		"the newest":                       {"", []string{"1.9.0", "1.10.0", "2.0.0-beta"}, "1.10.0", ""},
		"a range among nonsense":           {"^1", []string{"latest", "1.0.0"}, "1.0.0", ""},
		"none":                             {"4.0.0", []string{"3.3.3"}, "", NotFound},
		"none that is stable":              {"", []string{"1.0.0-rc.1"}, "", NotFound},
		"nonsense":                         {"newest!", []string{"3.3.3"}, "", Invalid},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := pickVersion(tc.wanted, tc.available)
			var f *fault
			if got != tc.want || errors.As(err, &f) != (tc.reason != "") || f != nil && f.reason != tc.reason {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestIsVersion(t *testing.T) {
	for wanted, want := range map[string]bool{"3.3.3": true, "v3.3.3": true, "1.0.0-rc.1+b": true, "3.3": false, "~3.3.3": false, "": false, "*": false} {
		if got := isVersion(wanted); got != want {
			t.Errorf("%q: %v", wanted, got)
		}
	}
}
