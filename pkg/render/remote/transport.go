// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	maxRedirects = 5
	dialTimeout  = 10 * time.Second
)

// metadataAddresses are where clouds serve credentials to whoever asks, besides the
// link-local ones.
func metadataAddresses() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),   // Amazon
		netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("168.63.129.16"),   // Azure
		netip.MustParseAddr("192.0.0.192"),     // Oracle
	}
}

// translated is where NAT64 puts the addresses of IPv4.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// forbidden says why nothing is fetched from an address, or nothing.
func forbidden(ip netip.Addr, loopback bool) string {
	ip = ip.Unmap().WithZone("")
	if translated.Contains(ip) {
		bytes := ip.As16()
		ip = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	switch {
	case ip.IsLoopback() && !loopback:
		return "a loopback address"
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsInterfaceLocalMulticast():
		return "a link-local or multicast address"
	case ip.IsUnspecified(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "no address of a server"
	}
	for _, metadata := range metadataAddresses() {
		if ip == metadata {
			return "an address where a cloud serves credentials"
		}
	}
	return ""
}

// control looks at the address after DNS: a name may point anywhere, and somewhere else
// the next time.
func control(loopback bool) func(string, string, syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return faultf(Denied, "unexpected address %q: %w", address, err)
		}
		if why := forbidden(addr.Addr(), loopback); why != "" {
			return faultf(Denied, "nothing is fetched from %s, %s", addr.Addr(), why)
		}
		return nil
	}
}

// client returns the client for one fetch. It keeps no connection, so that credentials of
// one source are never those of another.
func client(source Source, mirror *url.URL) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: source.InsecureSkipTLSVerify}
	if len(source.Credentials.CA) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(source.Credentials.CA) {
			return nil, faultf(Invalid, "the Secret's caFile holds no certificate")
		}
	}
	strict := &net.Dialer{Timeout: dialTimeout, Control: control(false)}
	lax := &net.Dialer{Timeout: dialTimeout, Control: control(true)}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				// Only the operator makes mirrors, and a mirror may be a sidecar.
				if mirror != nil && address == hostPort(mirror) {
					return lax.DialContext(ctx, network, address)
				}
				return strict.DialContext(ctx, network, address)
			},
			TLSClientConfig: settings, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 20,
		},
	}, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// checkRedirect follows neither to plain HTTP nor with credentials to another host.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return faultf(Invalid, "more than %d redirects", maxRedirects)
	case req.URL.Scheme != "https" && via[0].URL.Scheme == "https":
		return faultf(Denied, "redirected from https to %s", req.URL.Scheme)
	case req.URL.User != nil:
		return faultf(Denied, "redirected to a URL with credentials")
	}
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// failure is the fault in an error of the HTTP client, without the URL that it puts into
// its errors.
func failure(err error) error {
	var known *fault
	if errors.As(err, &known) {
		return known
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return faultf(Denied, "its certificate is not trusted (give its CA as caFile in the Secret): %w", err)
	}
	return &fault{Unreachable, fmt.Errorf("cannot be reached: %w", err)}
}
