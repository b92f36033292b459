// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"net/url"
)

// Reason says what is wrong with a source.
type Reason string

const (
	// Unreachable is a server that can't be reached now: worth another try.
	Unreachable Reason = "Unreachable"
	// NotFound is what the server does not have.
	NotFound Reason = "NotFound"
	// Denied is what the server does not give to these credentials, or to nobody.
	Denied Reason = "Denied"
	// Invalid is a URL, or content, that is no valid one.
	Invalid Reason = "Invalid"
)

// Error is why a source could not be fetched.
type Error struct {
	Reason Reason
	// URL is without credentials, query and fragment, before mirrors.
	URL string
	Err error
}

// Error names the URL.
func (e *Error) Error() string { return fmt.Sprintf("fetching %s: %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// fault is an Error that does not know its URL yet.
type fault struct {
	reason Reason
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(reason Reason, format string, args ...any) error {
	return &fault{reason, fmt.Errorf(format, args...)}
}

// RedactURL returns a URL without user information, query and fragment, any of which may
// hold a password.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(malformed URL)"
	}
	u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
	return u.String()
}
