// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Mirror says that what is asked for under one URL is fetched from under another.
type Mirror struct {
	// From and To are URLs without a trailing slash, their scheme and host in lower case.
	From, To string
}

// String returns the form that ParseMirror reads.
func (m Mirror) String() string { return m.From + "=" + m.To }

// ParseMirror reads "from=to", both http, https or oci URLs without credentials, query
// and fragment. Trailing slashes mean nothing.
func ParseMirror(s string) (Mirror, error) {
	from, to, found := strings.Cut(s, "=")
	if !found {
		return Mirror{}, errors.New("a mirror has the form from=to, for example " +
			"https://charts.example.org=https://mirror.example.com/charts")
	}
	var m Mirror
	var err error
	if m.From, err = mirrorURL(from); err != nil {
		return Mirror{}, fmt.Errorf("left side of the mirror: %w", err)
	}
	if m.To, err = mirrorURL(to); err != nil {
		return Mirror{}, fmt.Errorf("right side of the mirror: %w", err)
	}
	return m, nil
}

// mirrorURL checks and normalises one side of a mirror. Its errors never quote it: a
// refused URL is the one that may hold a password.
func mirrorURL(s string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil {
		return "", errors.New("not a URL")
	}
	switch u.Scheme {
	case "http", "https", "oci":
	case "":
		return "", errors.New("a URL begins with http://, https:// or oci://")
	default:
		return "", fmt.Errorf("scheme %q is none of http, https, oci", u.Scheme)
	}
	switch {
	case u.Host == "":
		return "", errors.New("the URL has no host")
	case u.User != nil:
		return "", errors.New("a mirror's URL holds no credentials; give them to the repository")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("a mirror's URL has no query and no fragment")
	}
	return normalise(u), nil
}

// normalise brings URLs that mean the same place under a mirror to the same text.
func normalise(u *url.URL) string {
	n := *u
	n.Host = strings.ToLower(n.Host) // Parse has lowered the scheme
	return strings.TrimRight(n.String(), "/")
}

// Mirrors is a list of mirrors. The longest From that a URL is under wins, and of equal
// ones the first.
type Mirrors []Mirror

// ParseMirrors reads each element with ParseMirror and refuses two mirrors of one URL.
func ParseMirrors(list []string) (Mirrors, error) {
	mirrors := make(Mirrors, 0, len(list))
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		m, err := ParseMirror(s)
		if err != nil {
			return nil, err
		}
		if seen[m.From] {
			return nil, fmt.Errorf("%s has two mirrors", m.From)
		}
		seen[m.From] = true
		mirrors = append(mirrors, m)
	}
	return mirrors, nil
}

// Resolve returns the URL to fetch from in place of rawURL: itself, unchanged, where no
// mirror applies. A mirror applies to its From and to every path below it, not to a
// longer host or path segment that merely begins with the same letters.
func (m Mirrors) Resolve(rawURL string) string {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return rawURL
	case u.User != nil: // credentials meant for one host never travel to another
		return rawURL
	case slices.Contains(strings.Split(u.Path, "/"), ".."): // nor does anything climb out of a mirror
		return rawURL
	}
	u.Host = strings.ToLower(u.Host)
	asked := u.String()
	best, rest := Mirror{}, ""
	for _, mirror := range m {
		tail, found := strings.CutPrefix(asked, mirror.From)
		if found && len(mirror.From) > len(best.From) && atBoundary(tail) {
			best, rest = mirror, tail
		}
	}
	if best.From == "" {
		return rawURL
	}
	return best.To + rest
}

func atBoundary(tail string) bool {
	return tail == "" || tail[0] == '/' || tail[0] == '?' || tail[0] == '#'
}
