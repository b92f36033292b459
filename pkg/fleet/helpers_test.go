// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	canaryToken    = "canary-token-7f3a"
	canaryPassword = "canary-password-91bd"
)

// authority is a certificate authority and a certificate of it.
type authority struct {
	caPEM, certPEM, keyPEM []byte
	serving                tls.Certificate
}

// theAuthority is made once: its keys are costly, and nothing changes it. Its
// certificates are valid at the time that synctest's clock starts at, too.
var theAuthority = sync.OnceValue(func() authority { return makeAuthority("fleet-test") })

func makeAuthority(name string) authority {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "apiserver"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"*.test", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(err)
	a := authority{
		caPEM:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}
	a.serving, err = tls.X509KeyPair(a.certPEM, a.keyPEM)
	must(err)
	return a
}

// kubeconfig returns one for a server, with a token unless user says else.
func kubeconfig(server string, ca []byte, user ...string) []byte {
	if len(user) == 0 {
		user = []string{"token: " + canaryToken}
	}
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: it
contexts:
- name: it
  context: {cluster: it, user: me}
clusters:
- name: it
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: me
  user:
    %s
`, server, base64.StdEncoding.EncodeToString(ca), strings.Join(user, "\n    "))
}

func ref(name string) Ref {
	return Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "fleet", Name: name}
}

// source is a CredentialSource in memory.
type source struct {
	mu    sync.Mutex
	data  map[Ref][]byte
	sets  map[Ref]int
	reads map[Ref]int
	// err, if set, is what every read fails with.
	err error
	// onRead, if set, is called in every read, unlocked.
	onRead func(ctx context.Context, ref Ref)
}

func (s *source) set(ref Ref, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data, s.sets = map[Ref][]byte{}, map[Ref]int{}
	}
	s.data[ref] = data
	s.sets[ref]++
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) readsOf(ref Ref) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[ref]
}

func (s *source) Kubeconfig(ctx context.Context, ref Ref) ([]byte, string, error) {
	s.mu.Lock()
	data, ok, err, onRead := s.data[ref], false, s.err, s.onRead
	version := strconv.Itoa(s.sets[ref])
	_, ok = s.data[ref]
	if s.reads == nil {
		s.reads = map[Ref]int{}
	}
	s.reads[ref]++
	s.mu.Unlock()
	if onRead != nil {
		onRead(ctx, ref)
	}
	if err != nil {
		return nil, "", err
	}
	if !ok {
		return nil, "", apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, ref.Name)
	}
	return data, version, nil
}

// newServerTLS is the TLS configuration of a server with a certificate of the
// authority's, that asks for one as API servers do.
func newServerTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{theAuthority().serving}, ClientAuth: tls.RequestClientCert}
}
