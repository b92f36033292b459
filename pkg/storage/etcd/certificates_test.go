// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testAuthority signs certificates for tests.
type testAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newTestAuthority(t *testing.T) *testAuthority {
	t.Helper()
	a := &testAuthority{}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.file, _, a.cert, a.key = a.sign(t, template, time.Hour)
	return a
}

// sign certifies for as long as life, which may be over, and writes PEM files.
func (a *testAuthority) sign(t *testing.T, template *x509.Certificate, life time.Duration) (certFile, keyFile string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: t.Name()}
	template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(life)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, cert, key
}

// client is the configuration of a client of this authority, for a server of
// another one, say.
func (a *testAuthority) client(t *testing.T, ca *testAuthority, life time.Duration, endpoints ...string) ClientConfig {
	t.Helper()
	cert, key, _, _ := a.sign(t, &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, life)
	return ClientConfig{Endpoints: endpoints, CAFile: ca.file, CertFile: cert, KeyFile: key}
}

// serve stands for etcd as far as TLS goes.
func (a *testAuthority) serve(t *testing.T) (endpoint string) {
	t.Helper()
	certFile, keyFile, _, _ := a.sign(t, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, time.Hour)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func TestCheckCertificates(t *testing.T) {
	ours, others := newTestAuthority(t), newTestAuthority(t)
	endpoint := ours.serve(t)
	const nobody = "https://127.0.0.1:1"
	without := ours.client(t, ours, time.Hour, endpoint)
	without.CertFile, without.KeyFile = "", ""
	missing := ours.client(t, ours, time.Hour, endpoint)
	missing.CAFile = "/no/such/ca.crt"
	for name, test := range map[string]struct {
		config ClientConfig
		want   string // empty for no error
	}{
		"good":                            {ours.client(t, ours, time.Hour, endpoint), ""},
		"good for one that runs":          {ours.client(t, ours, time.Hour, nobody, endpoint), ""},
		"nobody there yet":                {ours.client(t, others, time.Hour, nobody), ""},
		"no TLS":                          {ClientConfig{Endpoints: []string{"http://127.0.0.1:1", "unix:///x"}}, ""},
		"expired":                         {ours.client(t, ours, -time.Minute, nobody), "expired at"},
		"another authority's certificate": {others.client(t, ours, time.Hour, endpoint), "do not accept each other's certificates"},
		"another authority is trusted":    {ours.client(t, others, time.Hour, nobody, endpoint), "signed by unknown authority"},
		"none where one is needed":        {without, "do not accept each other's certificates"},
		"no files for https":              {ClientConfig{Endpoints: []string{endpoint}}, "signed by unknown authority"},
		"a file that is not there":        {missing, "/no/such/ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.config.CheckCertificates(t.Context(), time.Now())
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one sentence with %q", err, test.want)
			}
		})
	}
}
