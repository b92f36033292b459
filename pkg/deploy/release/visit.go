// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
)

// visit is one look at a repository, by who enters it with the reference's access.
type visit struct {
	*repository
	access *Access
	verify *Verification
	// scope tells in keys of caches who it is; see Access.scope.
	scope string
	// home is the URL of the repository, which credentials are for.
	home *url.URL
	// own is the client for all but mirrors.
	own *http.Client
}

// visit begins a visit. Its end has to be called.
func (r *repository) visit(ref ChartRef, home *url.URL) (*visit, error) {
	v := &visit{repository: r, access: ref.Access, verify: ref.Verify, scope: ref.Access.scope(), home: home, own: r.client}
	if a := ref.Access; a != nil {
		settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: a.InsecureSkipTLSVerify}
		if len(a.CA) > 0 {
			settings.RootCAs = x509.NewCertPool()
			if !settings.RootCAs.AppendCertsFromPEM(a.CA) {
				return nil, &fault{Invalid, errNoCertificate}
			}
		}
		v.own = newHTTPClient(r.options.Addresses, settings)
	}
	return v, nil
}

// end closes the connections: another's requests must not travel on them.
func (v *visit) end() {
	if v.own != v.repository.client {
		v.own.CloseIdleConnections()
	}
}

// clientFor returns the client for a place. A mirror has nothing to do with the
// certificates of what it mirrors.
func (v *visit) clientFor(p place) *http.Client {
	if p.mirrored {
		return v.mirrors
	}
	return v.own
}

// get downloads from a place; see fetcher.get.
func (v *visit) get(ctx context.Context, from place, etag string) (download, error) {
	login, err := v.access.login(ctx, v.home, from)
	if err != nil {
		return download{}, err
	}
	return v.fetch.get(ctx, order{client: v.clientFor(from), place: from, etag: etag, login: login})
}

// archiveKey is the key of an archive in the cache.
func (v *visit) archiveKey(digest string) string { return v.scope + " " + digest }
