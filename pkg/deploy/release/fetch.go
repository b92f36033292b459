// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const maxRedirects = 5

// newHTTPClient returns the client that all downloads go through. It has no
// credentials to lose, refuses to be led from TLS to plain HTTP, and does not
// reach link-local addresses, where clouds serve their credentials.
func newHTTPClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: refuseLinkLocal}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   4,
		},
		CheckRedirect: checkRedirect,
	}
}

// refuseLinkLocal looks at the address after DNS: a name may point anywhere.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("unexpected address %q: %w", address, err)
	}
	if ip := addr.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fmt.Errorf("charts are not fetched from %s, a link-local or special address", ip)
	}
	return nil
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return errors.New("redirected from https to " + req.URL.Scheme)
	}
	if req.URL.User != nil {
		return errors.New("redirected to a URL with credentials")
	}
	return nil
}

// fetcher downloads within bounds.
type fetcher struct {
	client  *http.Client
	timeout time.Duration
	limit   int64 // bytes
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
func (f *fetcher) get(ctx context.Context, target, etag string) (download, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return download{}, faultf(Invalid, "%s is not a URL", RedactURL(target))
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	req.Header.Set("User-Agent", "muster")
	resp, err := f.client.Do(req)
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
	return faultf(Unreachable, "fetching %s: %w", RedactURL(target), err)
}
