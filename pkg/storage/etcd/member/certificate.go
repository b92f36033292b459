// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// remoteAlert is what crypto/tls calls it when the other side has refused.
const remoteAlert = "remote error"

// Certificate is where a certificate, its key and the CA that the other side is verified with are:
// PEM files. They may be replaced at any time.
type Certificate struct {
	CertFile, KeyFile, CAFile string
}

// tls is what etcd listens with. Certificates are read at each handshake, CAs only here.
//
// The name in a client's certificate is not compared with where it comes from: in a cluster, the
// DNS of a Pod that starts is behind. The CA is Muster's own and signs nothing else.
func (c Certificate) tls() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.CAFile,
		ClientCertAuth: true, SkipClientSANVerify: true,
	}
}

// client is the configuration of a client that shows the certificate.
func (c Certificate) client() (*tls.Config, error) {
	info := transport.TLSInfo{CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.CAFile}
	return info.ClientConfig()
}

// check says in one sentence what is wrong with the files: with it, a member that starts for
// a host would be refused by every other one.
func (c Certificate) check(now time.Time, rawURL string) error {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s cannot be used: %w", c.CertFile, c.KeyFile, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("certificate %s cannot be used: %w", c.CertFile, err)
	}
	roots, err := c.roots()
	if err != nil {
		return err
	}
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("certificate %s expired at %s", c.CertFile, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	intermediates := x509.NewCertPool()
	for _, raw := range pair.Certificate[1:] {
		if between, err := x509.ParseCertificate(raw); err == nil {
			intermediates.AddCert(between)
		}
	}
	// It is shown by a server to clients, and by a client to other members.
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
		}); err != nil {
			return fmt.Errorf("certificate %s is not good with CA %s: %w", c.CertFile, c.CAFile, err)
		}
	}
	u, err := url.Parse(rawURL)
	if err == nil {
		err = leaf.VerifyHostname(u.Hostname())
	}
	if err != nil {
		return fmt.Errorf("certificate %s is not for this member: %w", c.CertFile, err)
	}
	return nil
}

// checkCertificates checks both certificates. They may be the same one.
func (c Config) checkCertificates(now time.Time) error {
	if err := c.PeerTLS.check(now, c.self().PeerURL); err != nil {
		return err
	}
	return c.ClientTLS.check(now, c.self().ClientURL)
}

func (c Certificate) roots() (*x509.CertPool, error) {
	raw, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CA %s cannot be read: %w", c.CAFile, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("CA %s holds no certificate in PEM", c.CAFile)
	}
	return roots, nil
}

// digestCAs is a digest of the certificates in the CA files, whatever is around them. It is empty
// while one of the files cannot be read, which a replacement can pass through.
func digestCAs(certificates ...Certificate) string {
	digest := sha256.New()
	for _, c := range certificates {
		rest, err := os.ReadFile(c.CAFile)
		if err != nil {
			return ""
		}
		found := false
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			found = true
			_, _ = digest.Write(block.Bytes) // a hash never fails
		}
		if !found {
			return ""
		}
	}
	return string(digest.Sum(nil))
}

// isTLSFailure tells whether a connection was made and the two sides did not accept each other.
func isTLSFailure(err error) bool {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert *net.OpError
	return errors.As(err, &verification) || errors.As(err, &record) ||
		errors.As(err, &alert) && alert.Op == remoteAlert
}
