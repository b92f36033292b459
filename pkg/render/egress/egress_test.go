// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	for address, ok := range map[string]bool{
		"93.184.216.34": true, "10.0.0.1": true, "192.168.1.1": true, "2606:2800:220:1::1": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "fe80::1": false, "fe80::1%eth0": false,
		"fd00:ec2::254": false, "100.100.100.200": false, "168.63.129.16": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
	} {
		if err := (Policy{}).Check(netip.MustParseAddr(address), false); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := (Policy{}).Check(netip.MustParseAddr("127.0.0.1"), true); err != nil {
		t.Errorf("a mirror on loopback: %v", err)
	}
	if (Policy{}).Check(netip.MustParseAddr("169.254.169.254"), true) == nil {
		t.Error("a mirror may be at the metadata address")
	}
}

func TestPolicy(t *testing.T) {
	allow, err := ParsePrefixes([]string{"127.0.0.0/8", "169.254.1.1"})
	if err != nil {
		t.Fatal(err)
	}
	forbid, err := ParsePrefixes([]string{"10.1.2.3/8", "127.0.0.9"})
	if err != nil {
		t.Fatal(err)
	}
	policy := Policy{Allow: allow, Forbid: forbid}
	for address, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.9": false, "::ffff:127.0.0.9": false, "64:ff9b::a00:1": false, "::1": false,
		"169.254.1.1": true, "169.254.169.254": false, "10.200.0.1": false, "11.0.0.1": true,
	} {
		if err := policy.Check(netip.MustParseAddr(address), false); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := policy.Check(netip.MustParseAddr("10.0.0.1"), true); err != nil {
		t.Errorf("a mirror in a forbidden range: %v", err)
	}
	for _, bad := range []string{"", "localhost", "10.0.0.0/99"} {
		if _, err := ParsePrefixes([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// A mirror's address is open to requests for the mirror alone.
func TestDial(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	dial := (Policy{}).Dial(time.Second)
	var refused *Error
	if _, err := dial(t.Context(), "tcp", address); !errors.As(err, &refused) || !strings.Contains(err.Error(), "a loopback address") {
		t.Errorf("error %v", err)
	}
	other := WithMirror(t.Context(), &url.URL{Scheme: "http", Host: "127.0.0.1"})
	if _, err := dial(other, "tcp", address); !errors.As(err, &refused) {
		t.Errorf("another port than the mirror's: error %v", err)
	}
	here := WithMirror(t.Context(), &url.URL{Scheme: "http", Host: address})
	conn, err := dial(context.WithoutCancel(here), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
