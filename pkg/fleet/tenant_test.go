// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// tenants gives every account the token that it has at the moment.
type tenants struct {
	token atomic.Value
	err   error
}

func (s *tenants) Token(context.Context, Ref, Identity) (string, error) {
	token, _ := s.token.Load().(string)
	return token, s.err
}

// A tenant's request has the tenant's token and nothing of Muster's: neither its token,
// nor the certificate, which an API server would look at first.
func TestATenantsRequestsAreTheTenantsAlone(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString
	certificate := "client-certificate-data: " + encoded(theAuthority().certPEM)
	key := "client-key-data: " + encoded(theAuthority().keyPEM)
	for name, user := range map[string][]string{"by token": nil, "by certificate": {certificate, key}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := newWire(t)
				h := wire.host("a.test")
				source := &tenants{}
				source.token.Store("first")
				clusters, credentials := newClients(t, wire, Options{Tenants: source})
				credentials.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM, user...))
				as := Identity{ServiceAccountNamespace: "team", ServiceAccountName: "deployer"}
				muster, tenant := clientOf(t, clusters, Identity{}), clientOf(t, clusters, as)
				if tenant != clientOf(t, clusters, as) {
					t.Error("a client is made anew for the same token")
				}
				for _, client := range []*Client{muster, tenant, muster} {
					if _, err := send(t.Context(), client, http.MethodPost, "/version", http.Header{"Impersonate-User": {"admin"}}); err != nil {
						t.Fatal(err)
					}
				}
				got := h.api.seen("/version")
				for i, authorization := range []string{"", "Bearer first", ""} {
					request := got[i]
					isTenant := authorization != ""
					if isTenant && request.Header.Get("Authorization") != authorization {
						t.Errorf("request %d comes with %q", i, request.Header.Get("Authorization"))
					}
					if certified := len(request.TLS.PeerCertificates) > 0; certified != (user != nil && !isTenant) {
						t.Errorf("request %d comes with a certificate: %t", i, certified)
					}
					for header := range request.Header {
						if strings.HasPrefix(header, "Impersonate-") {
							t.Errorf("request %d has %s", i, header)
						}
					}
				}
				source.token.Store("second")
				if _, err := send(t.Context(), clientOf(t, clusters, as), http.MethodGet, "/api", nil); err != nil {
					t.Fatal(err)
				}
				if got := h.api.seen("/api")[0].Header.Get("Authorization"); got != "Bearer second" {
					t.Errorf("after the token has changed: %q", got)
				}
			})
		})
	}
}

func TestATenantWithoutCredentialsHasNoClient(t *testing.T) {
	clusters := NewClusters(Options{
		Credentials: &source{}, Tenants: &tenants{err: credentialsErrorf(ReasonMissing, "no Secret")},
	})
	_, err := clusters.Client(t.Context(), ref("a"), Identity{ServiceAccountName: "x"})
	var invalid *CredentialsError
	if !errors.As(err, &invalid) || invalid.Message != "no Secret" {
		t.Errorf("error %v", err)
	}
}

func TestParseToken(t *testing.T) {
	if token, err := ParseToken(kubeconfig("https://a.test", theAuthority().caPEM)); err != nil || token != canaryToken {
		t.Errorf("%q, %v", token, err)
	}
	for _, user := range [][]string{{"username: me", "password: " + canaryPassword}, {"exec: {command: sh}"}} {
		_, err := ParseToken(kubeconfig("https://a.test", theAuthority().caPEM, user...))
		var invalid *CredentialsError
		if !errors.As(err, &invalid) || strings.Contains(err.Error(), canaryPassword) {
			t.Errorf("%v: %v", user, err)
		}
	}
}
