// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
)

// TenantSource has the credentials of tenants' accounts in managed clusters.
type TenantSource interface {
	// Token returns the bearer token of an account in a cluster, which is never empty.
	// A *CredentialsError says that there is none to be had and what to do about it;
	// any other error that it could not be read.
	Token(ctx context.Context, ref Ref, as Identity) (string, error)
}

// token is the one that an identity has of its own, empty for Muster's, and where
// identities are impersonated.
func (c *Clusters) token(ctx context.Context, ref Ref, as Identity) (string, error) {
	if as.IsZero() || c.options.Tenants == nil {
		return "", nil
	}
	return c.options.Tenants.Token(ctx, ref, as)
}

// anonymousKey marks the contexts of requests that must not be sent over a connection
// with Muster's client certificate: an API server looks at that first, and would take
// whoever has it for Muster, whatever token comes with the request.
type anonymousKey struct{}

func withoutCertificate(ctx context.Context) context.Context {
	return context.WithValue(ctx, anonymousKey{}, true)
}

// transportFor is the innermost transport for a request.
func (c *connection) transportFor(ctx context.Context) http.RoundTripper {
	if c.anonymous != nil && ctx.Value(anonymousKey{}) != nil {
		return c.anonymous()
	}
	return c.transport
}

// newAnonymous returns what makes the transport without the client certificate, once.
// It holds nothing but connections, which end by themselves when they are idle.
func (c *connection) newAnonymous(config *tls.Config, disableCompression bool, wrap func(http.RoundTripper) http.RoundTripper) func() http.RoundTripper {
	return sync.OnceValue(func() http.RoundTripper {
		config := config.Clone()
		config.Certificates = nil
		var transport http.RoundTripper = c.newTransport(config, disableCompression)
		if wrap != nil {
			transport = wrap(transport)
		}
		return transport
	})
}

// ParseToken returns the bearer token of a kubeconfig of a tenant's account. Its server
// is not looked at: the account is the cluster's own, which is known.
//
// Errors are of type *CredentialsError.
func ParseToken(data []byte) (string, error) {
	config, err := ParseKubeconfig(data)
	if err != nil {
		return "", err
	}
	if config.BearerToken == "" {
		return "", credentialsErrorf(ReasonInvalid, "kubeconfig has no token: a tenant's account is known by one")
	}
	return config.BearerToken, nil
}
