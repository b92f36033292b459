// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T) *Pair {
	t.Helper()
	pair, err := Sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, NotBefore: noon, NotAfter: noon.Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestWhatIsSignedIsServed(t *testing.T) {
	ca := authority(t)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "muster"}, NotBefore: noon, NotAfter: noon.Add(time.Minute),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	AddNames(template, []string{"muster.projectsveltos.svc", "10.0.0.1", "::1"})
	pair, err := Sign(template, ca)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM); err != nil {
		t.Errorf("certificate and key: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM)
	for _, name := range []string{"muster.projectsveltos.svc", "10.0.0.1", "::1"} {
		if _, err := pair.Cert.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: noon.Add(time.Second)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !pair.Cert.NotAfter.Equal(noon.Add(time.Minute)) {
		t.Errorf("it ends at %s", pair.Cert.NotAfter)
	}
}

func TestNothingLivesLongerThanWhatSignedIt(t *testing.T) {
	ca := authority(t)
	pair, err := Sign(&x509.Certificate{NotBefore: noon, NotAfter: noon.Add(24 * time.Hour)}, ca)
	if err != nil {
		t.Fatal(err)
	}
	if !pair.Cert.NotAfter.Equal(ca.Cert.NotAfter) {
		t.Errorf("it ends at %s, and its authority at %s", pair.Cert.NotAfter, ca.Cert.NotAfter)
	}
	if again, err := Sign(&x509.Certificate{NotBefore: noon, NotAfter: noon.Add(time.Hour)}, ca); err != nil || again.Cert.SerialNumber.Cmp(pair.Cert.SerialNumber) == 0 {
		t.Errorf("two certificates have one serial number, or %v", err)
	}
}
