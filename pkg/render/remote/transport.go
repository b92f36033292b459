// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/muster-project/muster/pkg/render/egress"
)

const (
	maxRedirects = 5
	dialTimeout  = 10 * time.Second
)

// client returns the client for one fetch. It keeps no connection, so that credentials of
// one source are never those of another.
func (f *Fetcher) client(source Source) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: source.InsecureSkipTLSVerify}
	if len(source.Credentials.CA) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(source.Credentials.CA) {
			return nil, faultf(Invalid, "the Secret's caFile holds no certificate")
		}
	}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			DialContext:     f.options.Addresses.Dial(dialTimeout),
			TLSClientConfig: settings, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 20,
		},
	}, nil
}

// checkRedirect follows neither to plain HTTP nor with credentials to another host.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return faultf(Invalid, "more than %d redirects", maxRedirects)
	case req.URL.Scheme != "https" && via[0].URL.Scheme == "https":
		return faultf(Denied, "redirected from https to %s", req.URL.Scheme)
	case req.URL.User != nil:
		return faultf(Denied, "redirected to a URL with credentials")
	}
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// failure is the fault in an error of the HTTP client, without the URL that it puts into
// its errors.
func failure(err error) error {
	var known *fault
	if errors.As(err, &known) {
		return known
	}
	var address *egress.Error
	if errors.As(err, &address) {
		return &fault{Denied, address}
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return faultf(Denied, "its certificate is not trusted (give its CA as caFile in the Secret): %w", err)
	}
	return &fault{Unreachable, fmt.Errorf("cannot be reached: %w", err)}
}
