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

	"github.com/muster-project/muster/pkg/render/egress"
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
	transport := f.options.Addresses.Transport(settings)
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport, CheckRedirect: egress.CheckRedirect}, nil
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
	var redirect *egress.RedirectError
	if errors.As(err, &redirect) {
		return &fault{Invalid, redirect}
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
