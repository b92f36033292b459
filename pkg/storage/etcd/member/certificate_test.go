// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// serialShown is the serial number of the certificate that a member shows.
func (c *cluster) serialShown(name string) (string, error) {
	config, err := c.tls.client()
	if err != nil {
		return "", err
	}
	conn, err := tls.Dial("tcp", c.listen[name][1], config)
	if err != nil {
		return "", err
	}
	serial := conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	return serial, conn.Close()
}

func TestCertificatesAreReplacedWhileMembersRun(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	before, err := c.serialShown("m0")
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSuffix(c.tls.CertFile, "/tls.crt")
	c.ca.issue(t, dir, nil)
	eventually(t, func() error {
		if now, err := c.serialShown("m0"); err != nil || now == before {
			return fmt.Errorf("it shows %s as before (%v)", now, err)
		}
		return nil
	})

	// A new CA is trusted beside the old one before anything is signed with it.
	next := newAuthority(t)
	other := next.issue(t, t.TempDir(), nil)
	both := append(append([]byte{}, c.ca.pem...), next.pem...)
	write(t, other.CAFile, both)
	write(t, c.tls.CAFile, both)
	for name := range c.listen {
		client := c.clientWith(other, name)
		eventually(t, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := client.Get(ctx, "/k", clientv3.WithSerializable())
			return err
		})
	}
	// One after the other: what was recorded as the turn of one was never taken by another, and is
	// given back.
	eventually(t, func() error {
		state, err := c.state.Get(t.Context())
		if err != nil || state.Turn != nil {
			return errors.Join(err, fmt.Errorf("turn %v", state.Turn))
		}
		return nil
	})
	for i, p := range processes {
		if count := strings.Count(p.log.String(), "Starting etcd again with new CAs"); count != 1 {
			t.Errorf("member %d was started again %d times, want once:\n%s", i, count, p.log)
		}
	}
	for name := range c.listen {
		eventually(t, func() error { return c.ready(name) })
	}
}

func TestAClientWithoutACertificateIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.bootstrap()
	stranger := newAuthority(t).issue(t, t.TempDir(), nil)
	write(t, stranger.CAFile, c.ca.pem)
	for name, certificate := range map[string]Certificate{
		"none":               {CAFile: c.tls.CAFile},
		"another CA's":       stranger,
		"right (for a test)": c.tls,
	} {
		listen := c.listen["m0"]
		for _, address := range listen[:2] {
			config := &tls.Config{MaxVersion: tls.VersionTLS12}
			if certificate.CertFile != "" {
				var err error
				if config, err = certificate.client(); err != nil {
					t.Fatal(err)
				}
				config.MaxVersion = tls.VersionTLS12
			}
			roots, err := certificate.roots()
			if err != nil {
				t.Fatal(err)
			}
			config.RootCAs = roots
			conn, err := tls.Dial("tcp", address, config)
			if accepted := err == nil; accepted != (certificate == c.tls) {
				t.Errorf("certificate: %s, address %s: %v", name, address, err)
			}
			if err == nil {
				_ = conn.Close()
			} else if !isTLSFailure(err) {
				t.Errorf("certificate: %s: %v is not seen as a failure of TLS", name, err)
			}
		}
	}
}
