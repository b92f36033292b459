// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/muster-project/muster/pkg/render/egress"
)

// Access is how a repository or registry is entered. It never shows what is secret of it.
type Access struct {
	// Username and Password are for the host that the profile names. PassAll sends them
	// to all other hosts as well that an index leads to, and to mirrors.
	Username, Password string
	PassAll            bool
	// DockerConfig is a docker configuration, in JSON, with the credentials of hosts.
	// They are sent to those hosts alone.
	DockerConfig []byte
	// CA are the certificates, in PEM, of the only authorities that are trusted, but for
	// mirrors.
	CA []byte
	// InsecureSkipTLSVerify accepts any certificate, but for mirrors.
	InsecureSkipTLSVerify bool
	// PlainHTTP speaks to an OCI registry without TLS.
	PlainHTTP bool
}

// String says nothing of what is in it.
func (a *Access) String() string { return "(access to a repository)" }

// GoString says nothing of what is in it.
func (a *Access) GoString() string { return a.String() }

// MarshalJSON says nothing of what is in it: logs are written in JSON too.
func (a *Access) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// scope tells those apart who enter a repository differently, empty for nobody in
// particular: what one was given is for those alone who can show the same.
func (a *Access) scope() string {
	if a == nil {
		return ""
	}
	type plain Access // without its methods
	return hashOf((*plain)(a))
}

// hashOf is of the JSON of a value that always has one.
func hashOf(value any) string {
	encoded, _ := json.Marshal(value) // strings, bytes and bools always can be
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

var (
	errNoCertificate  = errors.New("holds no certificate in PEM")
	errNoDockerConfig = errors.New("is no docker configuration in JSON with auths in it")
)

// CheckCA returns an error, which quotes nothing, if data holds no certificates.
func CheckCA(data []byte) error {
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errNoCertificate
	}
	return nil
}

// CheckDockerConfig returns an error, which quotes nothing, if data is no docker
// configuration.
func CheckDockerConfig(data []byte) error {
	var config struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if json.Unmarshal(data, &config) != nil || len(config.Auths) == 0 {
		return errNoDockerConfig
	}
	if _, err := credentials.NewMemoryStoreFromDockerConfig(data); err != nil {
		return errNoDockerConfig
	}
	return nil
}

// login returns the credentials for a place: none is the zero value. home is the URL that
// the profile names.
func (a *Access) login(ctx context.Context, home *url.URL, to place) (auth.Credential, error) {
	if a == nil {
		return auth.EmptyCredential, nil
	}
	if (a.Username != "" || a.Password != "") && (a.PassAll || !to.mirrored && sameHost(home, to.asked)) {
		return auth.Credential{Username: a.Username, Password: a.Password}, nil
	}
	if len(a.DockerConfig) == 0 || to.mirrored {
		return auth.EmptyCredential, nil
	}
	store, err := credentials.NewMemoryStoreFromDockerConfig(a.DockerConfig)
	if err != nil {
		return auth.EmptyCredential, &fault{Invalid, errNoDockerConfig}
	}
	for _, name := range namesOf(to.asked.Host) {
		credential, err := store.Get(ctx, name)
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("looking for the credentials of %s: %w", name, err)
		}
		if credential != auth.EmptyCredential {
			return credential, nil
		}
	}
	if sameHost(home, to.asked) {
		return auth.EmptyCredential, faultf(Denied, "the docker configuration has no credentials for %s", to.asked.Host)
	}
	return auth.EmptyCredential, nil
}

// namesOf are the names that a docker configuration may have for a host.
func namesOf(host string) []string {
	hub := []string{"index.docker.io", "docker.io", "registry-1.docker.io"}
	if slices.Contains(hub, host) {
		return hub
	}
	if bare, found := strings.CutSuffix(host, ":443"); found {
		return []string{host, bare}
	}
	return []string{host, host + ":443"}
}

// sameHost reports whether credentials for one URL may be sent to another: to the same
// host and port, and not in plain text if they were given for TLS.
func sameHost(home, to *url.URL) bool {
	if to.Scheme == "http" && home.Scheme != "http" {
		return false
	}
	return strings.EqualFold(egress.HostPort(home), egress.HostPort(to))
}
