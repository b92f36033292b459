// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"net/http"
	"slices"
	"strings"
)

// isRead says whether a request cannot change anything. One that upgrades the connection can,
// whatever its method: exec over WebSockets is a GET.
func isRead(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return req.Header.Get("Upgrade") == ""
	}
	return false
}

// exemptions are the writes that pass a closed gate.
type exemptions struct {
	leases           map[string]struct{} // paths of Leases
	leaseCollections map[string]struct{} // where they are created
}

func newExemptions(leasePaths []string) exemptions {
	e := exemptions{leases: map[string]struct{}{}, leaseCollections: map[string]struct{}{}}
	for _, path := range leasePaths {
		e.leases[path] = struct{}{}
		if i := strings.LastIndexByte(path, '/'); i > 0 {
			e.leaseCollections[path[:i]] = struct{}{}
		}
	}
	return e
}

func (e exemptions) has(req *http.Request) bool {
	return e.isLease(req) || isReview(req) || isDryRun(req)
}

func (e exemptions) isLease(req *http.Request) bool {
	var ok bool
	switch req.Method {
	case http.MethodPut, http.MethodPatch:
		_, ok = e.leases[req.URL.Path]
	case http.MethodPost:
		_, ok = e.leaseCollections[req.URL.Path]
	}
	return ok
}

// isReview says whether a request asks what somebody may do or who somebody is. Reviews are
// created, but nothing is stored.
func isReview(req *http.Request) bool {
	return req.Method == http.MethodPost && slices.ContainsFunc(parseAPIPath(req.URL.Path), apiPath.isReviews)
}

// isDryRun says whether an API server will persist nothing of a request.
//
// DELETE is none, whatever its query says: an API server that finds options in its body ignores
// those in the query. Nor is a subresource that connects to something: it knows no dry run.
func isDryRun(req *http.Request) bool {
	switch req.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return false
	}
	if values := req.URL.Query()["dryRun"]; len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return v != "All" }) {
		return false
	}
	paths := parseAPIPath(req.URL.Path)
	return len(paths) > 0 && !slices.ContainsFunc(paths, apiPath.connects)
}

// apiPath is what the path of a request to a Kubernetes API server names.
type apiPath struct {
	group, resource, name string
	subresource           []string // and what is below it
}

// connects says whether the path leads through the API server to something else.
func (p apiPath) connects() bool {
	return len(p.subresource) > 0 && slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, p.subresource[0])
}

// isReviews says whether the path is where reviews are created.
func (p apiPath) isReviews() bool {
	if p.name != "" {
		return false
	}
	switch p.group {
	case "authorization.k8s.io":
		return slices.Contains([]string{
			"subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews",
		}, p.resource)
	case "authentication.k8s.io":
		return slices.Contains([]string{"tokenreviews", "selfsubjectreviews"}, p.resource)
	}
	return false
}

// parseAPIPath parses
//
//	[/BASE]/api/VERSION/[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE...]]
//	[/BASE]/apis/GROUP/VERSION/[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE...]]
//
// where BASE is what a proxy in front of the API server wants. Nothing but a convention says where
// BASE ends, so there may be more than one reading. Namespaces and their own subresources, which
// need no telling apart here, are read as if they were in a namespace.
func parseAPIPath(path string) []apiPath {
	var readings []apiPath
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, segment := range segments {
		rest := segments[i+1:]
		var p apiPath
		switch {
		case segment == "api" && len(rest) >= 2:
			rest = rest[1:]
		case segment == "apis" && len(rest) >= 3:
			p.group, rest = rest[0], rest[2:]
		default:
			continue
		}
		if rest[0] == "namespaces" && len(rest) > 2 {
			rest = rest[2:]
		}
		p.resource = rest[0]
		if len(rest) > 1 {
			p.name, p.subresource = rest[1], rest[2:]
		}
		readings = append(readings, p)
	}
	return readings
}
