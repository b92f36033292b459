// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// patience is how long a condition may take on a machine that does other things too.
const patience = time.Minute

// eventually waits until a condition holds.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %v", patience, err)
		}
		if pause(t.Context(), 20*time.Millisecond) != nil {
			t.Fatal(err)
		}
	}
}

// memory is a Bootstrapped in memory.
type memory struct {
	mu      sync.Mutex
	state   State
	version int
	err     error
}

func (m *memory) Get(context.Context) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.state
	state.Version = strconv.Itoa(m.version)
	return state, m.err
}

func (m *memory) Set(_ context.Context, state State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if state.Version != strconv.Itoa(m.version) {
		return ErrChanged
	}
	m.version++
	m.state = state
	return nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := etcd.WriteFile(path, content); err != nil {
		t.Fatal(err)
	}
}

// cluster is members of a cluster on this machine.
type cluster struct {
	t         *testing.T
	peers     []Peer
	listen    map[string][3]string // peer, client, health
	ca        *authority
	tls       Certificate
	data      string
	state     *memory
	configure func(*Config)
}

func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	ca := newAuthority(t)
	c := &cluster{t: t, listen: map[string][3]string{}, ca: ca, tls: ca.issue(t, t.TempDir(), nil), data: t.TempDir(), state: &memory{}}
	for i := range size {
		name := fmt.Sprintf("m%d", i)
		c.listen[name] = [3]string{freeAddress(t), freeAddress(t), freeAddress(t)}
		c.peers = append(c.peers, Peer{Name: name, PeerURL: "https://" + c.listen[name][0], ClientURL: "https://" + c.listen[name][1]})
	}
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (c *cluster) dir(name string) string { return filepath.Join(c.data, name) }

func (c *cluster) wipe(name string) {
	c.t.Helper()
	if err := os.RemoveAll(c.dir(name)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) config(name string) Config {
	cfg := Config{
		Name: name, DataDir: c.dir(name), Peers: c.peers,
		ListenPeer: c.listen[name][0], ListenClient: c.listen[name][1], ListenHealth: c.listen[name][2],
		PeerTLS: c.tls, ClientTLS: c.tls, Bootstrapped: c.state, UnsafeNoFsync: true,
		Timing: Timing{
			Heartbeat: 40 * time.Millisecond, Election: 400 * time.Millisecond,
			Retry: 50 * time.Millisecond, Upkeep: 50 * time.Millisecond, Ask: 2 * time.Second,
		},
	}
	if c.configure != nil {
		c.configure(&cfg)
	}
	return cfg
}

// process is a running member.
type process struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	log    *logged
}

// logged is what a member has logged.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) add(prefix, args string) {
	if prefix == "etcd" {
		return // it complains of every connection that tests cut
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, prefix+" "+args)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// start starts a member, which ends with the test.
func (c *cluster) start(name string) *process {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	p := &process{t: c.t, cancel: cancel, done: make(chan error, 1), log: &logged{}}
	ctx = klog.NewContext(ctx, funcr.New(p.log.add, funcr.Options{}))
	cfg := c.config(name)
	go func() { p.done <- Run(ctx, cfg) }()
	c.t.Cleanup(func() {
		p.stop()
		if c.t.Failed() {
			c.t.Logf("log of %s:\n%s", name, p.log)
		}
	})
	return p
}

// bootstrap starts all members and returns when each of them serves and has "v" under "/k".
func (c *cluster) bootstrap() []*process {
	c.t.Helper()
	var all []*process
	for _, peer := range c.peers {
		all = append(all, c.start(peer.Name))
	}
	c.put(c.client(), "/k", "v")
	for _, peer := range c.peers {
		c.holds(peer.Name, "/k", "v")
		eventually(c.t, func() error { return c.ready(peer.Name) })
	}
	return all
}

// stop ends a member as SIGTERM does.
func (p *process) stop() {
	p.t.Helper()
	p.cancel()
	err := <-p.done
	p.done <- nil // for the next stop
	if err != nil {
		p.t.Errorf("the member ended with: %v", err)
	}
}

// client talks to the named members, or all.
func (c *cluster) client(names ...string) *clientv3.Client {
	c.t.Helper()
	return c.clientWith(c.tls, names...)
}

func (c *cluster) clientWith(tls Certificate, names ...string) *clientv3.Client {
	c.t.Helper()
	var endpoints []string
	for _, peer := range c.peers {
		if len(names) == 0 || strings.Contains(strings.Join(names, " "), peer.Name) {
			endpoints = append(endpoints, peer.ClientURL)
		}
	}
	client, err := etcd.NewClient(klog.NewContext(c.t.Context(), klog.Logger{}), etcd.ClientConfig{
		Endpoints: endpoints, CertFile: tls.CertFile, KeyFile: tls.KeyFile, CAFile: tls.CAFile,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// put writes, as soon as that is possible.
func (c *cluster) put(client *clientv3.Client, key, value string) (revision int64) {
	c.t.Helper()
	eventually(c.t, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		resp, err := client.Put(ctx, key, value)
		if err == nil {
			revision = resp.Header.Revision
		}
		return err
	})
	return revision
}

// holds waits until a member by itself has a value.
func (c *cluster) holds(name, key, value string) {
	c.t.Helper()
	client := c.client(name)
	eventually(c.t, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		resp, err := client.Get(ctx, key, clientv3.WithSerializable())
		if err == nil && (len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != value) {
			err = fmt.Errorf("%s has %s: %v, want %q", name, key, resp.Kvs, value)
		}
		return err
	})
}

// voters waits until the cluster has so many full members, and returns their IDs by name.
func (c *cluster) voters(client *clientv3.Client, count int) map[string]uint64 {
	c.t.Helper()
	voters := map[string]uint64{}
	eventually(c.t, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		resp, err := client.MemberList(ctx)
		if err != nil {
			return err
		}
		clear(voters)
		for _, m := range resp.Members {
			if !m.IsLearner && m.Name != "" {
				voters[m.Name] = m.ID
			}
		}
		if len(voters) != count || len(resp.Members) != count {
			err = fmt.Errorf("members %v, want %d", resp.Members, count)
		}
		return err
	})
	return voters
}

// ready is what a member says of itself.
func (c *cluster) ready(name string) error { return c.probe(name, "/readyz") }

// probe is nil if a member answers well on a path of its health address.
func (c *cluster) probe(name, path string) error {
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.listen[name][2]+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(body)))
	}
	return nil
}

// waits waits until a member says that it waits, for a reason with these words.
func (c *cluster) waits(name, words string) {
	c.t.Helper()
	eventually(c.t, func() error {
		if err := c.ready(name); err == nil || !strings.Contains(err.Error(), words) {
			return fmt.Errorf("%s says %v, want %q", name, err, words)
		}
		return nil
	})
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
