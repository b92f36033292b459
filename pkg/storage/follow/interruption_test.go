// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
	"github.com/muster-project/muster/pkg/storage/follow"
)

func TestSeesWritesThroughAnInterruption(t *testing.T) {
	server, client := etcdtest.Start(t)
	link, cuttable := newLink(t, server)
	m := newMirror()
	f, _ := m.start(t, cuttable, follow.Options{})
	for i := range 5 {
		put(t, client, keyIn(followed[0], i), "kept")
	}
	m.requireCurrent(t, f, client)
	m.takeEvents()

	link.cut()
	put(t, client, keyIn(followed[0], 1), "changed")
	remove(t, client, keyIn(followed[0], 2))
	put(t, client, keyIn(followed[1], 3), "new")
	link.mend()

	m.requireCurrent(t, f, client)
	if got := m.takeEvents(); len(got) != 3 {
		t.Errorf("%d events, want the three of the interruption: %v", len(got), got)
	}
}

func TestListsAgainAfterCompactionAndShowsOnlyWhatChanged(t *testing.T) {
	server, client := etcdtest.Start(t)
	link, cuttable := newLink(t, server)
	m := newMirror()
	f, _ := m.start(t, cuttable, follow.Options{PageSize: 4})
	for i := range 20 {
		put(t, client, keyIn(followed[0], i), "kept")
		put(t, client, keyIn(followed[2], i), "kept")
	}
	m.requireCurrent(t, f, client)
	m.takeEvents()
	_, before := m.snapshot()

	link.cut()
	put(t, client, keyIn(followed[0], 1), "changed")
	remove(t, client, keyIn(followed[2], 2))
	put(t, client, keyIn(followed[1], 3), "new")
	put(t, client, keyIn(followed[1], 4), "came and went")
	last := remove(t, client, keyIn(followed[1], 4))
	if _, err := client.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), last); err == nil {
		t.Fatal("the compaction did not happen")
	}
	if _, now := m.snapshot(); !cmp.Equal(before, now) {
		t.Error("what was applied changed while the store was away")
	}
	link.mend()

	m.requireCurrent(t, f, client)
	var got []string
	for _, e := range m.takeEvents() {
		got = append(got, fmt.Sprintf("%s %q %v", e.Key, e.Value, e.Deleted))
	}
	want := []string{
		`/test/clusters/ns/1 "changed" false`,
		`/test/sets/ns/3 "new" false`,
		`/test/summaries/ns/2 "" true`,
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("events of the second list: %q, want %q", got, want)
	}
}

// TestALaggingWatchIsNotTakenForCurrent: etcd sends a watch that lags behind its events in batches, each
// of which carries the store's revision and not the batch's.
func TestALaggingWatchIsNotTakenForCurrent(t *testing.T) {
	server, client := etcdtest.Start(t)
	link, cuttable := newLink(t, server)
	m := newMirror()
	base, err := server.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Every revision since base adds one object.
	m.onStep = func(revision int64, objects map[string]string) {
		if got := int64(len(objects)); got != revision-base {
			t.Errorf("at revision %d the index has %d objects, want %d", revision, got, revision-base)
		}
	}
	f, _ := m.start(t, cuttable, follow.Options{})
	m.requireCurrent(t, f, client)

	link.cut()
	const writers, writes = 25, 150 // a batch has 1,000 revisions of a range
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range writes {
				put(t, client, fmt.Sprintf("%s%d/%d", followed[i%3], w, i), "x")
			}
		})
	}
	writing.Wait()
	link.mend()
	m.requireCurrent(t, f, client)
}

// TestListsWhileTheStoreCompacts: a list of many pages takes longer than history lasts.
func TestListsWhileTheStoreCompacts(t *testing.T) {
	_, client := etcdtest.Start(t)
	for i := range 30 {
		put(t, client, keyIn(followed[i%3], i), "x")
	}
	var compacting sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	compacting.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			at := put(t, client, keyIn(followed[i%3], i%60), fmt.Sprint(i))
			if _, err := client.Compact(t.Context(), at); err != nil {
				t.Error(err)
			}
			sleep(ctx, 20*time.Millisecond)
		}
	})
	var mirrors []*mirror
	var followers []*follow.Follower
	for range 5 {
		m := newMirror()
		f, _ := m.start(t, client, follow.Options{PageSize: 1})
		mirrors, followers = append(mirrors, m), append(followers, f)
		sleep(ctx, 100*time.Millisecond)
	}
	stop()
	compacting.Wait()
	for i, m := range mirrors {
		m.requireCurrent(t, followers[i], client)
	}
}

func TestFollowsAcrossARestartOfEtcd(t *testing.T) {
	dir := t.TempDir()
	server := etcdtest.StartIn(t, dir)
	client := etcdtest.NewClient(t, server)
	m := newMirror()
	f, _ := m.start(t, client, follow.Options{})
	put(t, client, keyIn(followed[0], 1), "before")
	m.requireCurrent(t, f, client)
	m.takeEvents()

	server.Close()
	if _, objects := m.snapshot(); len(objects) != 1 {
		t.Errorf("the index holds %v while etcd is away, want what it held", objects)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if at, err := f.WaitCurrent(impatient); err == nil {
		t.Errorf("WaitCurrent reached %d while etcd is away", at)
	}

	etcdtest.StartIn(t, dir)
	put(t, client, keyIn(followed[0], 2), "after")
	m.requireCurrent(t, f, client)
	if got := m.takeEvents(); len(got) != 1 || got[0].Value != "after" {
		t.Errorf("events since the restart: %v, want the one write", got)
	}
}

func TestAnotherStoreIsNotTakenForAnEmptyOne(t *testing.T) {
	dir := t.TempDir()
	server := etcdtest.StartIn(t, dir)
	client := etcdtest.NewClient(t, server)
	m := newMirror()
	f, stop := m.start(t, client, follow.Options{ProgressPeriod: 20 * time.Millisecond})
	put(t, client, keyIn(followed[0], 1), "precious")
	m.requireCurrent(t, f, client)
	m.takeEvents()

	server.Close()
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	etcdtest.StartIn(t, dir)
	for {
		_, err := f.WaitCurrent(t.Context())
		if errors.Is(err, follow.ErrStopped) {
			if !errors.Is(err, follow.ErrStoreReplaced) {
				t.Errorf("WaitCurrent's error does not say why: %v", err)
			}
			break
		}
		if err == nil {
			t.Fatal("WaitCurrent is content with another store")
		}
	}
	if err := stop(); !errors.Is(err, follow.ErrStoreReplaced) {
		t.Errorf("Run's error is %v, want ErrStoreReplaced", err)
	}
	if got := m.takeEvents(); len(got) > 0 {
		t.Errorf("events out of another store: %v", got)
	}
	if _, objects := m.snapshot(); len(objects) != 1 {
		t.Errorf("the index holds %v, want what it held", objects)
	}
}
