// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"time"
)

const (
	maxRedirects = 5
	dialTimeout  = 10 * time.Second
)

// RedirectError says why a redirect is not followed.
type RedirectError struct {
	Why string
}

// Error quotes no URL.
func (e *RedirectError) Error() string { return e.Why }

// Transport returns a transport for downloads, with settings of TLS or nil. It goes to no
// address that the policy forbids.
func (p Policy) Transport(settings *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            p.Dial(dialTimeout),
		TLSClientConfig:        settings,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// CheckRedirect follows no redirect from TLS to plain HTTP, and none with credentials to
// another host or port. Errors are *RedirectError.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return &RedirectError{fmt.Sprintf("more than %d redirects", maxRedirects)}
	case req.URL.Scheme != "https" && first.Scheme == "https":
		return &RedirectError{"redirected from https to " + req.URL.Scheme}
	case req.URL.User != nil:
		return &RedirectError{"redirected to a URL with credentials"}
	}
	if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header.Del("Authorization") // the client would keep it for sub-domains and other ports
	}
	return nil
}
