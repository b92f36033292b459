// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
)

const (
	accountPrefix = "system:serviceaccount:"
	allAccounts   = "system:serviceaccounts"
	authenticated = "system:authenticated"
)

// extraHeader carries ExtraKey; a header's name cannot have a slash in it.
var extraHeader = authenticationv1.ImpersonateUserExtraHeaderPrefix + strings.ReplaceAll(ExtraKey, "/", "%2f")

// User is whom a leader impersonates: the user of its own credentials.
type User struct {
	Name string
	// Groups are those that an API server does not add by itself: each of them is a
	// right that is needed.
	Groups []string
}

func newUser(info authenticationv1.UserInfo) User {
	user := User{Name: info.Username}
	for _, group := range info.Groups {
		if group != authenticated {
			user.Groups = append(user.Groups, group)
		}
	}
	if account, ok := strings.CutPrefix(info.Username, accountPrefix); ok {
		namespace, _, _ := strings.Cut(account, ":")
		own := []string{allAccounts, allAccounts + ":" + namespace}
		if len(user.Groups) == len(own) && slices.Contains(user.Groups, own[0]) && slices.Contains(user.Groups, own[1]) {
			user.Groups = nil
		}
	}
	return user
}

// Impersonate makes a request with these headers the user's.
func (u User) Impersonate(header http.Header) {
	header.Set(authenticationv1.ImpersonateUserHeader, u.Name)
	for _, group := range u.Groups {
		header.Add(authenticationv1.ImpersonateGroupHeader, group)
	}
}

// Stamp makes a request, which impersonates somebody, one of the leader with
// this epoch.
func Stamp(header http.Header, epoch int64) {
	header.Set(extraHeader, strconv.FormatInt(epoch, 10))
}
