// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package egress says which addresses sources and charts are fetched from. A URL is a
// stranger's wish: it must not reach what only the server itself can reach.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Policy is what an operator says about addresses. The zero value forbids those that are
// the server's own.
type Policy struct {
	// Allow are addresses that would be forbidden, and are fetched from.
	Allow []netip.Prefix
	// Forbid are addresses that are not fetched from, those of mirrors excepted. It wins
	// over Allow.
	Forbid []netip.Prefix
}

// Error says that nothing is fetched from an address.
type Error struct {
	Address netip.Addr
	// Why is what the address is.
	Why string
}

// Error names the address.
func (e *Error) Error() string {
	return fmt.Sprintf("nothing is fetched from %s, %s", e.Address, e.Why)
}

// ParsePrefixes reads addresses and ranges of them, as in 10.0.0.0/8.
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			address, addressErr := netip.ParseAddr(text)
			if addressErr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(address.Unmap().WithZone(""), address.Unmap().BitLen())
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

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

// Check returns an *Error for an address that nothing is fetched from. A mirror is the
// operator's: it may be a sidecar.
func (p Policy) Check(address netip.Addr, mirror bool) error {
	ip := address.Unmap().WithZone("")
	if translated.Contains(ip) {
		bytes := ip.As16()
		ip = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if !mirror && contains(p.Forbid, ip) {
		return &Error{address, "an address that the server's flag --forbid-source-address names"}
	}
	if contains(p.Allow, ip) {
		return nil
	}
	why := ""
	switch {
	case ip.IsLoopback() && !mirror:
		why = "a loopback address"
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsInterfaceLocalMulticast():
		why = "a link-local or multicast address"
	case ip.IsUnspecified(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		why = "no address of a server"
	}
	for _, metadata := range metadataAddresses() {
		if ip == metadata {
			why = "an address where a cloud serves credentials"
		}
	}
	if why != "" {
		return &Error{address, why}
	}
	return nil
}

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// mirrorKey is the key of a context's mirror, "host:port".
type mirrorKey struct{}

// WithMirror returns a context whose requests may go to a mirror. Redirects from there to
// other places are none of the operator's.
func WithMirror(ctx context.Context, mirror *url.URL) context.Context {
	return context.WithValue(ctx, mirrorKey{}, HostPort(mirror))
}

// Dial returns the dialer of a client that keeps to the policy. The address is looked at
// after DNS: a name may point anywhere, and somewhere else the next time.
func (p Policy) Dial(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		mirror := ctx.Value(mirrorKey{}) == address
		dialer := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: func(_, resolved string, _ syscall.RawConn) error {
			parsed, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("unexpected address %q: %w", resolved, err)
			}
			return p.Check(parsed.Addr(), mirror)
		}}
		return dialer.DialContext(ctx, network, address)
	}
}

// HostPort is the host and port of an http, https or oci URL.
func HostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
