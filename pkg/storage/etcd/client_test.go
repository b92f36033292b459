// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"
)

func TestClientsTLS(t *testing.T) {
	self, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"localhost"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg                 ClientConfig
		isTLS, verifies, is bool
	}{
		"none":           {ClientConfig{}, false, false, false},
		"CA alone":       {ClientConfig{CAFile: self.CertFile}, true, true, false},
		"with a client":  {ClientConfig{CAFile: self.CertFile, CertFile: self.CertFile, KeyFile: self.KeyFile}, true, true, true},
		"without any CA": {ClientConfig{CertFile: self.CertFile, KeyFile: self.KeyFile}, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := tc.cfg.tls()
			if err != nil {
				t.Fatal(err)
			}
			if got := config != nil; got != tc.isTLS {
				t.Fatalf("TLS: %v, want %v", got, tc.isTLS)
			}
			if config == nil {
				return
			}
			if got := config.RootCAs != nil; got != tc.verifies {
				t.Errorf("verifies with the given CA: %v, want %v", got, tc.verifies)
			}
			if got := config.GetClientCertificate != nil; got != tc.is {
				t.Errorf("has a certificate: %v, want %v", got, tc.is)
			}
			if config.InsecureSkipVerify {
				t.Error("servers are not verified")
			}
		})
	}
}
