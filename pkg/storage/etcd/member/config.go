// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

const (
	// Members in several zones of a cloud are some milliseconds apart, and a disk there can stall for a
	// second: an election that such a stall triggers helps nobody.
	defaultHeartbeat = 200 * time.Millisecond
	defaultElection  = 2 * time.Second

	// A period that is short against what an operator waits for, and long against what a question costs.
	defaultRetry  = 2 * time.Second
	defaultUpkeep = 30 * time.Second
	defaultAsk    = 3 * time.Second

	// DefaultDefragmentPeriod is how often a member looks whether it should defragment itself.
	DefaultDefragmentPeriod = 10 * time.Minute
	// DefaultDefragmentFreeBytes is how much must be free for it to be worth the pause.
	DefaultDefragmentFreeBytes int64 = 256 << 20
)

// Peer is one of the cluster's members, as all of them are told at the start.
type Peer struct {
	// Name is the member's.
	Name string
	// PeerURL is where the others reach it: https://host:port.
	PeerURL string
	// ClientURL is where clients reach it: https://host:port.
	ClientURL string
}

// Config says which member this is, and of which cluster.
type Config struct {
	// Name is this member's: one of Peers has it.
	Name string
	// DataDir belongs to this member alone. It is created with mode 0700 if it is missing.
	DataDir string
	// Peers are all members, this one among them.
	Peers []Peer
	// ListenPeer and ListenClient are the addresses to serve on: IP:port.
	ListenPeer, ListenClient string
	// ListenHealth is where /livez, /readyz and /metrics are served, without TLS. None if empty.
	ListenHealth string
	// PeerTLS is for members among themselves, ClientTLS for clients. Both sides always show one.
	PeerTLS, ClientTLS Certificate
	// Bootstrapped remembers, outside of etcd, that the cluster was bootstrapped.
	Bootstrapped Bootstrapped
	// QuotaBytes limits the backend's size. Default: etcd.DefaultQuotaBytes.
	QuotaBytes int64
	// DefragmentPeriod is how often a member looks whether it should. Default: DefaultDefragmentPeriod.
	DefragmentPeriod time.Duration
	// DefragmentFreeBytes is how much must be free for it. Default: DefaultDefragmentFreeBytes.
	DefragmentFreeBytes int64
	// Timing has defaults that are fit for clouds.
	Timing Timing
	// UnsafeNoFsync leaves out every fsync: a machine that crashes loses data. For tests.
	UnsafeNoFsync bool
}

// Timing are durations that tests shorten.
type Timing struct {
	// Heartbeat and Election are etcd's: the second is at least five times the first.
	Heartbeat, Election time.Duration
	// Retry is the pause before what did not work is tried again.
	Retry time.Duration
	// Upkeep is how often alarms and certificates are looked at.
	Upkeep time.Duration
	// Ask limits one question to another member.
	Ask time.Duration
}

func (c Config) withDefaults() Config {
	c.QuotaBytes = cmp.Or(c.QuotaBytes, etcd.DefaultQuotaBytes)
	c.DefragmentPeriod = cmp.Or(c.DefragmentPeriod, DefaultDefragmentPeriod)
	c.DefragmentFreeBytes = cmp.Or(c.DefragmentFreeBytes, DefaultDefragmentFreeBytes)
	t := &c.Timing
	t.Heartbeat = cmp.Or(t.Heartbeat, defaultHeartbeat)
	t.Election = cmp.Or(t.Election, defaultElection)
	t.Retry = cmp.Or(t.Retry, defaultRetry)
	t.Upkeep = cmp.Or(t.Upkeep, defaultUpkeep)
	t.Ask = cmp.Or(t.Ask, defaultAsk)
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("no data directory is set"))
	}
	if c.Bootstrapped == nil {
		errs = append(errs, errors.New("nothing remembers whether the cluster was bootstrapped"))
	}
	names, urls := map[string]bool{}, map[string]bool{}
	for _, p := range c.Peers {
		if p.Name == "" || names[p.Name] || urls[p.PeerURL] {
			errs = append(errs, fmt.Errorf("member %s=%s: names and URLs must be set, and different", p.Name, p.PeerURL))
		}
		names[p.Name], urls[p.PeerURL] = true, true
		for _, raw := range []string{p.PeerURL, p.ClientURL} {
			errs = append(errs, checkURL(p.Name, raw))
		}
	}
	if !names[c.Name] {
		errs = append(errs, fmt.Errorf("this is member %q, and the cluster's members are %s", c.Name, c.names()))
	}
	for _, address := range []string{c.ListenPeer, c.ListenClient} {
		if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
			errs = append(errs, fmt.Errorf("address to listen on %q: want IP:port", address))
		}
	}
	if c.Timing.Election < 5*c.Timing.Heartbeat {
		errs = append(errs, fmt.Errorf("election timeout %s: must be at least five heartbeats of %s", c.Timing.Election, c.Timing.Heartbeat))
	}
	return errors.Join(errs...)
}

func checkURL(name, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Port() == "" || u.Hostname() == "" || u.Path != "" {
		return fmt.Errorf("member %s: URL %q: want https://host:port, because members speak TLS only", name, raw)
	}
	return nil
}

func (c Config) names() string {
	var names []string
	for _, p := range c.Peers {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// self is this member among the peers.
func (c Config) self() Peer {
	return c.Peers[slices.IndexFunc(c.Peers, func(p Peer) bool { return p.Name == c.Name })]
}

// others are the client URLs of all members but this one.
func (c Config) others() []string {
	var urls []string
	for _, p := range c.Peers {
		if p.Name != c.Name {
			urls = append(urls, p.ClientURL)
		}
	}
	return urls
}

// initialCluster is the members as etcd wants to be told them.
func (c Config) initialCluster() string {
	var pairs []string
	for _, p := range c.Peers {
		pairs = append(pairs, p.Name+"="+p.PeerURL)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// ParsePeers reads the members' peer URLs, "name=https://host:port,...", and their client URLs in the
// same form. A member whose client URL is not given has the host of its peer URL and clientPort.
func ParsePeers(peers, clients []string, clientPort string) ([]Peer, error) {
	clientURLs := map[string]string{}
	for _, pair := range clients {
		name, raw, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%q: want name=https://host:port", pair)
		}
		clientURLs[name] = raw
	}
	var parsed []Peer
	for _, pair := range peers {
		name, raw, ok := strings.Cut(pair, "=")
		u, err := url.Parse(raw)
		if !ok || err != nil {
			return nil, fmt.Errorf("%q: want name=https://host:port", pair)
		}
		client, given := clientURLs[name]
		if !given {
			client = "https://" + net.JoinHostPort(u.Hostname(), clientPort)
		}
		delete(clientURLs, name)
		parsed = append(parsed, Peer{Name: name, PeerURL: raw, ClientURL: client})
	}
	for name := range clientURLs {
		return nil, fmt.Errorf("a client URL is given for %q, which is no member", name)
	}
	return parsed, nil
}
