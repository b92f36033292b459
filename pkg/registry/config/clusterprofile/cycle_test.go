// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestRefuseCycle(t *testing.T) {
	others := map[string][]string{"b": {"c"}, "c": {"a"}, "d": nil, "e": {"e"}}
	get := func(name string) ([]string, error) { return others[name], nil }
	for _, test := range []struct {
		dependsOn []string
		want      string
	}{
		{nil, ""},
		{[]string{"d", "missing"}, ""},
		{[]string{"e"}, ""}, // its cycle is its own
		{[]string{"d", "b"}, "spec.dependsOn[1]: Invalid value: \"b\": would make the profile depend on itself: a → b → c → a"},
	} {
		err := refuseCycle("ClusterProfile", "a", test.dependsOn, get)
		if test.want == "" && err != nil {
			t.Errorf("%q: %v", test.dependsOn, err)
		}
		if test.want != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: %v, want %s", test.dependsOn, err, test.want)
		}
	}
	// What cannot be read is not taken for what is not there.
	broken := errors.New("no store")
	if err := refuseCycle("Profile", "a", []string{"b"}, func(string) ([]string, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}
