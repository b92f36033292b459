// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// lifetime of the authority, and of what it signs: nobody looks after them
	// between two upgrades.
	lifetime = 10 * 365 * 24 * time.Hour
	// backdating lets a node whose clock is behind accept a new certificate.
	backdating = time.Hour
)

// keyPair is a certificate with its key.
type keyPair struct {
	cert             *x509.Certificate
	key              crypto.Signer
	certPEM, privPEM []byte
}

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
	var authority *keyPair
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
func (s *Secrets) keeps(data map[string][]byte, authority *keyPair) bool {
	current, err := parse(data)
	if err != nil || current.cert.CheckSignatureFrom(authority.cert) != nil {
		return false
	}
	life := current.cert.NotAfter.Sub(current.cert.NotBefore)
	if !s.Now().Before(current.cert.NotBefore.Add(life * 2 / 3)) {
		return false
	}
	return !slices.ContainsFunc(s.EtcdNames, func(name string) bool { return current.cert.VerifyHostname(name) != nil })
}

func (s *Secrets) newAuthority() (map[string][]byte, error) {
	authority, err := sign(&x509.Certificate{
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
	return map[string][]byte{corev1.TLSCertKey: authority.certPEM, corev1.TLSPrivateKeyKey: authority.privPEM}, nil
}

// newMember certifies who speaks to etcd, and etcd itself: members are clients
// of each other.
func (s *Secrets) newMember(authority *keyPair) (map[string][]byte, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "muster-etcd"},
		NotBefore:   s.Now().Add(-backdating),
		NotAfter:    s.Now().Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range s.EtcdNames {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	member, err := sign(template, authority)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		authorityKey:            authority.certPEM,
		corev1.TLSCertKey:       member.certPEM,
		corev1.TLSPrivateKeyKey: member.privPEM,
	}, nil
}

// sign draws a key and certifies it; without a signer it signs itself. Nothing
// lives longer than what signed it.
func sign(template *x509.Certificate, signer *keyPair) (*keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	parent, parentKey := template, crypto.Signer(key)
	if signer != nil {
		parent, parentKey = signer.cert, signer.key
		if template.NotAfter.After(parent.NotAfter) {
			template.NotAfter = parent.NotAfter
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read a certificate back: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return &keyPair{
		cert: cert, key: key,
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		privPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// parse reads the certificate and key of a Secret. Its error never carries what
// is in there.
func parse(data map[string][]byte) (*keyPair, error) {
	certPEM, privPEM := data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]
	pair, err := tls.X509KeyPair(certPEM, privPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no certificate with its key", corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	return &keyPair{cert: pair.Leaf, key: key, certPEM: certPEM, privPEM: privPEM}, nil
}
