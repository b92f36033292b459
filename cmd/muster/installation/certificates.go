// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/certificates"
)

const (
	// lifetime of the authority, and of what it signs: nobody looks after them
	// between two upgrades.
	lifetime = 10 * 365 * 24 * time.Hour
	// backdating lets a node whose clock is behind accept a new certificate.
	backdating = time.Hour
)

// ensureEtcd makes the certificate for etcd, and the authority where there is
// none. An authority that is lost is not replaced: members that run would refuse
// those that start.
func (s *Secrets) ensureEtcd(ctx context.Context) error {
	_, err := s.Client.CoreV1().Secrets(s.Namespace).Get(ctx, s.Etcd, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read Secret %s/%s: %w", s.Namespace, s.Etcd, err)
	}
	newAuthority := s.newAuthority
	if err == nil {
		newAuthority = func() (map[string][]byte, error) {
			return nil, fmt.Errorf("it is lost, but Secret %s was signed by it: put it back, or delete Secret %s too and restart etcd and Muster", s.Etcd, s.Etcd)
		}
	}
	var authority *certificates.Pair
	read := func(data map[string][]byte) (_ map[string][]byte, err error) {
		authority, err = parse(data)
		return nil, err
	}
	for range 2 { // the second time it exists
		if err := s.ensure(ctx, s.EtcdAuthority, corev1.SecretTypeTLS, newAuthority, read); err != nil {
			return err
		}
		if authority != nil {
			break
		}
	}
	fresh := func() (map[string][]byte, error) { return s.newMember(authority) }
	return s.ensure(ctx, s.Etcd, corev1.SecretTypeTLS, fresh, func(data map[string][]byte) (map[string][]byte, error) {
		if s.keeps(data, authority) {
			return nil, nil
		}
		return fresh()
	})
}

// keeps reports whether a certificate may stay: it is the authority's, names all
// members, and has a third of its life before it.
func (s *Secrets) keeps(data map[string][]byte, authority *certificates.Pair) bool {
	current, err := parse(data)
	if err != nil || current.Cert.CheckSignatureFrom(authority.Cert) != nil {
		return false
	}
	life := current.Cert.NotAfter.Sub(current.Cert.NotBefore)
	if !s.Now().Before(current.Cert.NotBefore.Add(life * 2 / 3)) {
		return false
	}
	return !slices.ContainsFunc(s.EtcdNames, func(name string) bool { return current.Cert.VerifyHostname(name) != nil })
}

func (s *Secrets) newAuthority() (map[string][]byte, error) {
	authority, err := certificates.Sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "muster-etcd-authority"},
		NotBefore:             s.Now().Add(-backdating),
		NotAfter:              s.Now().Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, nil)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{corev1.TLSCertKey: authority.CertPEM, corev1.TLSPrivateKeyKey: authority.KeyPEM}, nil
}

// newMember certifies who speaks to etcd, and etcd itself: members are clients
// of each other.
func (s *Secrets) newMember(authority *certificates.Pair) (map[string][]byte, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "muster-etcd"},
		NotBefore:   s.Now().Add(-backdating),
		NotAfter:    s.Now().Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	certificates.AddNames(template, s.EtcdNames)
	member, err := certificates.Sign(template, authority)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		authorityKey:            authority.CertPEM,
		corev1.TLSCertKey:       member.CertPEM,
		corev1.TLSPrivateKeyKey: member.KeyPEM,
	}, nil
}

// parse reads the certificate and key of a Secret. Its error never carries what
// is in there.
func parse(data map[string][]byte) (*certificates.Pair, error) {
	certPEM, keyPEM := data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no certificate with its key", corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	return &certificates.Pair{Cert: pair.Leaf, Key: key, CertPEM: certPEM, KeyPEM: keyPEM}, nil
}
