// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"testing"
	"time"
)

func authority(t *testing.T, name string) *Authority {
	t.Helper()
	a, err := NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, c Certificate) *x509.Certificate {
	t.Helper()
	pair, err := a.Issue(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Fatalf("certificate and key do not fit: %v", err)
	}
	block, _ := pem.Decode(pair.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestIssuedCertificates(t *testing.T) {
	ours, theirs := authority(t, "ours"), authority(t, "theirs")
	serving := Certificate{CommonName: "s", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	client := Certificate{CommonName: "u", Organizations: []string{"g"}}
	expired := client
	expired.NotAfter = time.Now().Add(-time.Minute)

	tests := map[string]struct {
		certificate Certificate
		issuer      *Authority
		name        string
		usage       x509.ExtKeyUsage
		valid       bool
	}{
		"serving, by name":            {serving, ours, "localhost", x509.ExtKeyUsageServerAuth, true},
		"serving, by address":         {serving, ours, "127.0.0.1", x509.ExtKeyUsageServerAuth, true},
		"serving, by another name":    {serving, ours, "example.org", x509.ExtKeyUsageServerAuth, false},
		"serving, used as a client's": {serving, ours, "", x509.ExtKeyUsageClientAuth, false},
		"client":                      {client, ours, "", x509.ExtKeyUsageClientAuth, true},
		"client, used for serving":    {client, ours, "", x509.ExtKeyUsageServerAuth, false},
		"client, of another issuer":   {client, theirs, "", x509.ExtKeyUsageClientAuth, false},
		"client, expired":             {expired, ours, "", x509.ExtKeyUsageClientAuth, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(ours.PEM())
			cert := issue(t, test.issuer, test.certificate)
			_, err := cert.Verify(x509.VerifyOptions{
				Roots: roots, DNSName: test.name, KeyUsages: []x509.ExtKeyUsage{test.usage},
			})
			if (err == nil) != test.valid {
				t.Errorf("verification: %v, want valid=%t", err, test.valid)
			}
		})
	}
}

func TestIssuedCertificatesAreDistinct(t *testing.T) {
	a := authority(t, "ours")
	first, second := issue(t, a, Certificate{CommonName: "u"}), issue(t, a, Certificate{CommonName: "u"})
	if first.SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
	if first.PublicKey.(*ecdsa.PublicKey).Equal(second.PublicKey) {
		t.Error("two certificates have one key")
	}
}
