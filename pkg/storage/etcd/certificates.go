// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// greetTimeout is how long one endpoint may take to show its certificate and to judge ours.
const greetTimeout = 3 * time.Second

// CheckCertificates says in one sentence why certificates are the reason that etcd cannot be reached, where a
// client of etcd would try again for ever. It returns nil where a connection is possible, where no endpoint
// can be reached at all, as before etcd has started, and where there is no TLS.
func (cfg ClientConfig) CheckCertificates(ctx context.Context, now time.Time) error {
	config, err := cfg.tls()
	if err != nil {
		return err
	}
	if config == nil {
		config = &tls.Config{} // what a client has for https without any file
	}
	for _, file := range []string{cfg.CertFile, cfg.CAFile} {
		if err := current(file, now); err != nil {
			return err
		}
	}
	greetings := make(chan error, len(cfg.Endpoints))
	for _, endpoint := range cfg.Endpoints {
		go func() { greetings <- greet(ctx, config, endpoint) }()
	}
	var refused error
	good := false
	for range cfg.Endpoints { // all are waited for, or a goroutine would outlive this
		switch err := <-greetings; {
		case err == nil:
			good = true
		case aboutCertificates(err, cfg.CertFile != ""):
			refused = err
		}
	}
	if good || refused == nil {
		return nil
	}
	return fmt.Errorf("etcd and this server do not accept each other's certificates, give it those of its own etcd with "+
		"--etcd-cafile, --etcd-certfile and --etcd-keyfile: %w", refused)
}

// current refuses a PEM file whose certificates have all expired. What is no file of certificates is for
// others to find.
func current(file string, now time.Time) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var newest time.Time
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && certificate.NotAfter.After(newest) {
			newest = certificate.NotAfter
		}
	}
	if newest.IsZero() || newest.After(now) {
		return nil
	}
	return fmt.Errorf("certificate %s for etcd expired at %s: replace it", file, newest.UTC().Format(time.RFC3339))
}

// greet makes a connection to an endpoint and ends it. Its error says what exactly went wrong, where gRPC
// tries again until time is up.
func greet(ctx context.Context, config *tls.Config, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" {
		return err
	}
	config = config.Clone()
	// In later versions, that the server does not accept the client shows after the handshake only.
	config.MaxVersion = tls.VersionTLS12
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	_ = conn.Close()
	return nil
}

// aboutCertificates tells a refusal on either side from a server that is not there. shown is whether we have
// shown a certificate.
func aboutCertificates(err error, shown bool) bool {
	if _, ours := errors.AsType[*tls.CertificateVerificationError](err); ours {
		return true
	}
	// What crypto/tls calls an alert of the other side, of which it names the kind in words alone.
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && (strings.Contains(err.Error(), "certificate") || !shown && strings.Contains(err.Error(), "handshake failure"))
}
