// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/follow"
)

// The ranges that tests follow, and beside them one that they do not.
var followed = []string{"/test/clusters/", "/test/sets/", "/test/summaries/"}

const elsewhere = "/test/elsewhere/"

var errGarbage = errors.New("garbage")

// decode knows every value but "garbage...".
func decode(_ string, raw []byte, _ int64) (string, error) {
	if strings.HasPrefix(string(raw), "garbage") {
		return "", errGarbage
	}
	return string(raw), nil
}

// mirror is an index as callers have them: what has been applied, and the revision that it is at.
type mirror struct {
	mu       sync.Mutex
	revision int64
	objects  map[string]string
	events   []follow.Event[string]
	onStep   func(revision int64, objects map[string]string) // set before start
}

func newMirror() *mirror { return &mirror{objects: map[string]string{}} }

func (m *mirror) ranges() []follow.Range {
	var ranges []follow.Range
	for _, prefix := range followed {
		ranges = append(ranges, follow.NewRange(prefix, decode, m.apply))
	}
	return ranges
}

func (m *mirror) apply(e follow.Event[string]) {
	m.events = append(m.events, e)
	if e.Deleted {
		delete(m.objects, e.Key)
		return
	}
	m.objects[e.Key] = e.Value
}

func (m *mirror) commit(revision int64, deliver func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	deliver()
	m.revision = revision
	if m.onStep != nil && revision > 0 {
		m.onStep(revision, m.objects)
	}
}

func (m *mirror) snapshot() (int64, map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision, maps.Clone(m.objects)
}

// takeEvents returns the events since the last call.
func (m *mirror) takeEvents() []follow.Event[string] {
	m.mu.Lock()
	defer m.mu.Unlock()
	events := m.events
	m.events = nil
	return events
}

// start runs a follower into m until the test ends or stop is called, which returns Run's error.
func (m *mirror) start(t testing.TB, client *clientv3.Client, opts follow.Options) (f *follow.Follower, stop func() error) {
	t.Helper()
	opts.Commit = m.commit
	f = follow.New(client, m.ranges(), opts)
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f.Run(ctx)
	}()
	stop = func() error {
		cancel()
		<-done
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return f, stop
}

// stored reads what etcd held in the followed ranges at a revision.
func stored(t testing.TB, client *clientv3.Client, revision int64) map[string]string {
	t.Helper()
	objects := map[string]string{}
	for _, prefix := range followed {
		resp, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
		if err != nil {
			t.Fatalf("read %s at %d: %v", prefix, revision, err)
		}
		for _, kv := range resp.Kvs {
			objects[string(kv.Key)] = string(kv.Value)
		}
	}
	return objects
}

// requireCurrent waits until f is current, and compares m with the store at the revision that m is at.
func (m *mirror) requireCurrent(t testing.TB, f *follow.Follower, client *clientv3.Client) int64 {
	t.Helper()
	reached, err := f.WaitCurrent(t.Context())
	if err != nil {
		t.Fatalf("WaitCurrent: %v", err)
	}
	at, got := m.snapshot()
	if at < reached {
		t.Fatalf("the index is at revision %d, WaitCurrent reached %d", at, reached)
	}
	if diff := cmp.Diff(stored(t, client, at), got); diff != "" {
		t.Fatalf("at revision %d the index is not what is stored (-stored +index):\n%s", at, diff)
	}
	return at
}

func put(t testing.TB, client *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := client.Put(t.Context(), key, value)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return resp.Header.Revision
}

func remove(t testing.TB, client *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := client.Delete(t.Context(), key)
	if err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
	return resp.Header.Revision
}

// link is a connection to etcd that can be cut.
type link struct {
	endpoint string
	target   string

	mu    sync.Mutex
	up    bool
	conns map[net.Conn]struct{}
}

// newLink returns a link to server that is up, and a client that uses it.
func newLink(t testing.TB, server *etcd.Server) (*link, *clientv3.Client) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{
		endpoint: "unix://" + socket,
		target:   strings.TrimPrefix(server.Endpoint(), "unix://"),
		up:       true,
		conns:    map[net.Conn]struct{}{},
	}
	var serving sync.WaitGroup
	serving.Go(func() { l.serve(listener, &serving) })
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		serving.Wait()
	})
	client, err := etcd.NewClient(t.Context(), etcd.ClientConfig{Endpoints: []string{l.endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return l, client
}

func (l *link) serve(listener net.Listener, serving *sync.WaitGroup) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", l.target)
		if err != nil || !l.add(near, far) {
			_ = near.Close()
			if far != nil {
				_ = far.Close()
			}
			continue
		}
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			serving.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].Close()
				_ = way[1].Close()
			})
		}
	}
}

func (l *link) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up {
		return false
	}
	for _, c := range conns {
		l.conns[c] = struct{}{}
	}
	return true
}

// cut ends all connections and refuses new ones.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = false
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

// mend lets connections through again.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = true
}

func keyIn(prefix string, i int) string { return fmt.Sprintf("%sns/%d", prefix, i) }

// sleep lets time pass for what runs beside the test; no test depends on how much.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
