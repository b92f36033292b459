// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/muster-project/muster/pkg/render/egress"
)

// newHTTPClient returns a client for downloads. It refuses to be led from TLS to plain
// HTTP or to addresses that policy forbids, and leaves credentials where they were sent.
func newHTTPClient(policy egress.Policy, settings *tls.Config) *http.Client {
	return &http.Client{Transport: policy.Transport(settings), CheckRedirect: egress.CheckRedirect}
}

// fetcher downloads within bounds.
type fetcher struct {
	timeout time.Duration
	limit   int64 // bytes
}

// order is what is downloaded, and how.
type order struct {
	client *http.Client
	place
	// etag is of what is there already.
	etag string
	// login is for this place, the zero value for nobody in particular.
	login auth.Credential
}

// place is where something is downloaded from.
type place struct {
	// asked is the URL that was named, and target the one in its place.
	asked, target *url.URL
	// mirrored says that target is a mirror's.
	mirrored bool
}

// context lets requests go to the mirror.
func (p place) context(ctx context.Context) context.Context {
	if p.mirrored {
		return egress.WithMirror(ctx, p.target)
	}
	return ctx
}

// download is the answer to a GET.
type download struct {
	body []byte
	etag string
	// unchanged says that the content is still what the given etag is of.
	unchanged bool
	// url is where it came from, after redirects.
	url *url.URL
}

// get downloads a URL, unless its content still has the etag. Its errors are
// faults and carry no query, which may hold a signature.
func (f *fetcher) get(ctx context.Context, from order) (download, error) {
	ctx, cancel := context.WithTimeout(from.context(ctx), f.timeout)
	defer cancel()
	target := from.target.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return download{}, faultf(Invalid, "%s is not a URL", RedactURL(target))
	}
	if from.etag != "" {
		req.Header.Set("If-None-Match", from.etag)
	}
	if from.login.Username != "" || from.login.Password != "" {
		req.SetBasicAuth(from.login.Username, from.login.Password)
	}
	req.Header.Set("User-Agent", "muster")
	resp, err := from.client.Do(req)
	if err != nil {
		return download{}, unreachable(target, err)
	}
	defer func() { _ = resp.Body.Close() }() // all that was wanted has been read
	return f.read(resp, target)
}

func (f *fetcher) read(resp *http.Response, target string) (download, error) {
	result := download{etag: resp.Header.Get("ETag"), url: resp.Request.URL}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		result.unchanged = true
		return result, nil
	case http.StatusNotFound, http.StatusGone:
		return download{}, faultf(NotFound, "%s answers %s", RedactURL(target), resp.Status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return download{}, faultf(Denied, "%s answers %s", RedactURL(target), resp.Status)
	default:
		return download{}, faultf(Unreachable, "%s answers %s", RedactURL(target), resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, f.limit+1))
	if err != nil {
		return download{}, unreachable(target, err)
	}
	if int64(len(body)) > f.limit {
		return download{}, faultf(Invalid, "%s is larger than %d bytes", RedactURL(target), f.limit)
	}
	result.body = body
	return result, nil
}

// unreachable says why a URL can't be fetched, without the URL that net/http
// puts into its errors.
func unreachable(target string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var known *fault
	var address *egress.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &address):
		return faultf(Denied, "fetching %s: %w", RedactURL(target), address)
	case errors.As(err, &certificate):
		return faultf(Denied, "fetching %s: its certificate is not trusted (give its CA in registryCredentialsConfig.ca): %w", RedactURL(target), certificate)
	}
	return faultf(Unreachable, "fetching %s: %w", RedactURL(target), err)
}
