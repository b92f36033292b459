// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
)

// TestTheUserAsksForNoMoreThanItNeeds: each group that is named is a right to
// impersonate it, and those that an API server adds by itself are none.
func TestTheUserAsksForNoMoreThanItNeeds(t *testing.T) {
	for name, test := range map[string]struct {
		user   string
		groups []string
		want   []string
	}{
		"of a certificate":                {"muster", []string{"system:masters", "system:authenticated"}, []string{"system:masters"}},
		"without groups":                  {"muster", []string{"system:authenticated"}, nil},
		"a ServiceAccount":                {"system:serviceaccount:muster:deployer", []string{"system:serviceaccounts", "system:serviceaccounts:muster", "system:authenticated"}, nil},
		"a ServiceAccount with more":      {"system:serviceaccount:muster:deployer", []string{"system:serviceaccounts", "system:serviceaccounts:muster", "x"}, []string{"system:serviceaccounts", "system:serviceaccounts:muster", "x"}},
		"a ServiceAccount of other group": {"system:serviceaccount:muster:deployer", []string{"system:serviceaccounts", "system:serviceaccounts:other"}, []string{"system:serviceaccounts", "system:serviceaccounts:other"}},
		"nobody":                          {"system:anonymous", []string{"system:unauthenticated"}, []string{"system:unauthenticated"}},
	} {
		t.Run(name, func(t *testing.T) {
			user := newUser(authenticationv1.UserInfo{Username: test.user, Groups: test.groups})
			if diff := cmp.Diff(User{Name: test.user, Groups: test.want}, user); diff != "" {
				t.Error(diff)
			}
			header := http.Header{}
			user.Impersonate(header)
			if got := header.Values("Impersonate-Group"); header.Get("Impersonate-User") != test.user || len(got) != len(test.want) {
				t.Errorf("headers %v", header)
			}
		})
	}
}
