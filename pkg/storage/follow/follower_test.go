// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/follow"
)

func TestFollowsFromAListAndThroughEvents(t *testing.T) {
	_, client := etcdtest.Start(t)
	for _, prefix := range followed {
		for i := range 10 {
			put(t, client, keyIn(prefix, i), "before")
		}
	}
	put(t, client, elsewhere+"x", "not followed")

	m := newMirror()
	f, _ := m.start(t, client, follow.Options{PageSize: 3})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !f.Synced() {
		t.Error("Synced is false after WaitSynced")
	}
	m.requireCurrent(t, f, client)

	put(t, client, keyIn(followed[0], 3), "after")
	remove(t, client, keyIn(followed[1], 4))
	put(t, client, keyIn(followed[2], 10), "new")
	m.requireCurrent(t, f, client)
}

// TestAListIsOfOneMoment: it takes many requests while others write.
func TestAListIsOfOneMoment(t *testing.T) {
	_, client := etcdtest.Start(t)
	for i := range 60 {
		put(t, client, keyIn(followed[i%3], i), "0")
	}
	var writing sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			put(t, client, keyIn(followed[i%3], i%60), fmt.Sprint(i))
		}
	})
	for range 5 {
		m := newMirror()
		type step struct {
			revision int64
			objects  map[string]string
		}
		first := make(chan step, 1)
		m.onStep = func(revision int64, objects map[string]string) {
			select {
			case first <- step{revision, maps.Clone(objects)}:
			default:
			}
		}
		m.start(t, client, follow.Options{PageSize: 1})
		got := <-first
		if diff := cmp.Diff(stored(t, client, got.revision), got.objects); diff != "" {
			t.Errorf("the list of revision %d is not what was stored (-stored +listed):\n%s", got.revision, diff)
		}
	}
	stop()
	writing.Wait()
}

func TestEventsSayWhatHappened(t *testing.T) {
	_, client := etcdtest.Start(t)
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{})
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := followed[0] + "ns/name"
	created, changed, deleted := put(t, client, key, "1"), put(t, client, key, "2"), remove(t, client, key)
	m.requireCurrent(t, f, client)

	want := []follow.Event[string]{
		{Key: key, Name: "ns/name", Value: "1", Revision: created},
		{Key: key, Name: "ns/name", Value: "2", Revision: changed},
		{Key: key, Name: "ns/name", Revision: deleted, Deleted: true},
	}
	if diff := cmp.Diff(want, m.takeEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestIndexIsTheStoreAtItsRevision writes from several goroutines, each of which reads its own writes,
// and compares the index with the store's history at random moments.
func TestIndexIsTheStoreAtItsRevision(t *testing.T) {
	server, client := etcdtest.Start(t)
	for name, opts := range map[string]follow.Options{
		"through consensus": {},
		"embedded":          {CurrentRevision: server.Revision},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror()
			f, _ := m.start(t, client, opts)
			if err := f.WaitSynced(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.takeEvents() // the first list
			writeAndRead(t, m, f, client, 4, 60)
			m.requireCurrent(t, f, client)
			requireOrdered(t, m.takeEvents())
		})
	}
}

// writeAndRead makes writers write at random and check that they can read what they wrote.
func writeAndRead(t *testing.T, m *mirror, f *follow.Follower, client *clientv3.Client, writers, writes int) {
	t.Helper()
	var working sync.WaitGroup
	for w := range writers {
		working.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range writes {
				wrote := writeAtRandom(t, random, client, fmt.Sprintf("%d-%d", w, i))
				if random.IntN(3) > 0 {
					continue
				}
				reached, err := f.WaitCurrent(t.Context())
				if err != nil {
					t.Errorf("WaitCurrent: %v", err)
					return
				}
				at, got := m.snapshot()
				if reached < wrote || at < reached {
					t.Errorf("wrote at revision %d, WaitCurrent reached %d, and the index is at %d", wrote, reached, at)
				}
				if diff := cmp.Diff(stored(t, client, at), got); diff != "" {
					t.Errorf("at revision %d the index is not what is stored (-stored +index):\n%s", at, diff)
				}
			}
		})
	}
	working.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// writeAtRandom puts or deletes some keys, in one range, several or none of those that are followed.
func writeAtRandom(t *testing.T, random *rand.Rand, client *clientv3.Client, value string) int64 {
	t.Helper()
	var ops []clientv3.Op
	for _, prefix := range append([]string{elsewhere}, followed...) {
		if random.IntN(2) == 0 {
			continue
		}
		key := keyIn(prefix, random.IntN(8))
		if random.IntN(3) == 0 {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, value))
		}
	}
	resp, err := client.Txn(t.Context()).Then(ops...).Commit()
	if err != nil {
		t.Errorf("write: %v", err)
		return 0
	}
	return resp.Header.Revision
}

func requireOrdered(t *testing.T, events []follow.Event[string]) {
	t.Helper()
	if !slices.IsSortedFunc(events, func(a, b follow.Event[string]) int { return int(a.Revision - b.Revision) }) {
		t.Error("events were applied out of the order of their revisions")
	}
}

func TestUndecodableObjects(t *testing.T) {
	_, client := etcdtest.Start(t)
	put(t, client, keyIn(followed[0], 1), "garbage from the start")
	put(t, client, keyIn(followed[0], 2), "good")
	reports := make(chan string, 10)
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{OnUndecodable: func(key string, err error) {
		if !errors.Is(err, errGarbage) {
			t.Errorf("reported %s with %v, want the decoder's error", key, err)
		}
		reports <- key
	}})
	if got := <-reports; got != keyIn(followed[0], 1) {
		t.Errorf("reported %s", got)
	}
	put(t, client, keyIn(followed[0], 2), "garbage later")
	if got := <-reports; got != keyIn(followed[0], 2) {
		t.Errorf("reported %s", got)
	}
	if _, err := f.WaitCurrent(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, got := m.snapshot(); !cmp.Equal(got, map[string]string{keyIn(followed[0], 2): "good"}) {
		t.Errorf("the index holds %v, want the last value that could be decoded", got)
	}

	remove(t, client, keyIn(followed[0], 1))
	remove(t, client, keyIn(followed[0], 2))
	m.requireCurrent(t, f, client)
	var deleted []string
	for _, e := range m.takeEvents() {
		if e.Deleted {
			deleted = append(deleted, e.Key)
		}
	}
	if want := []string{keyIn(followed[0], 2)}; !slices.Equal(deleted, want) {
		t.Errorf("deleted: %v, want %v: the other was never applied", deleted, want)
	}
}

func TestUndecodableObjectIsTriedAgain(t *testing.T) {
	_, client := etcdtest.Start(t)
	put(t, client, followed[0]+"x", "secret")
	var mu sync.Mutex
	haveKey := false
	m := newMirror()
	f := follow.New(client, []follow.Range{follow.NewRange(followed[0], func(key string, raw []byte, _ int64) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if !haveKey {
			return "", errGarbage
		}
		return string(raw), nil
	}, m.apply)}, follow.Options{Commit: m.commit, ProgressPeriod: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = f.Run(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	if err := f.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, got := m.snapshot(); len(got) > 0 {
		t.Fatalf("the index holds %v", got)
	}
	mu.Lock()
	haveKey = true
	mu.Unlock()
	for {
		if _, got := m.snapshot(); got[followed[0]+"x"] == "secret" {
			break
		}
		if _, err := f.WaitCurrent(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
