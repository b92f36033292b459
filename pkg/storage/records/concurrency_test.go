// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/storage/value"
)

// sealed is a value that shows whether it is whole: noise and its hash.
func sealed(seed uint64, size int) []byte {
	value := noise(seed, size)
	hash := sha256.Sum256(value)
	return append(value, hash[:]...)
}

func whole(value []byte) bool {
	if len(value) < sha256.Size {
		return false
	}
	hash := sha256.Sum256(value[:len(value)-sha256.Size])
	return bytes.Equal(hash[:], value[len(value)-sha256.Size:])
}

// TestReadersNeverSeeATornValue reads one record while it is rewritten, in chunks and without, and
// while etcd's history is cut off behind it.
func TestReadersNeverSeeATornValue(t *testing.T) {
	client := newClient(t)
	s := newTerm(t, client)
	mustPut(t, s, "k", sealed(0, 4*smallChunk))
	reading, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for reading.Err() == nil {
				record, err := s.Get(t.Context(), "k")
				if err != nil || !whole(record.Value) {
					t.Errorf("Get: a value of %d bytes, %v", len(record.Value), err)
				}
				for record, err := range s.List(t.Context(), "") {
					// A list may be overtaken by the compactions below; what it yields is whole.
					if err == nil && !whole(record.Value) || errors.Is(err, ErrUnreadable) {
						t.Errorf("List: a value of %d bytes, %v", len(record.Value), err)
					}
				}
			}
		})
	}
	for i := range uint64(150) {
		mustPut(t, s, "k", sealed(i, int(i%7)*smallChunk))
		if i%3 == 0 {
			resp, err := client.Get(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Compact(t.Context(), resp.Header.Revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	readers.Wait()
}

func TestWritersOfOneRecordLeaveOneValueAndNoGarbage(t *testing.T) {
	s := newTerm(t, newClient(t))
	var writers sync.WaitGroup
	for w := range uint64(6) {
		writers.Go(func() {
			for i := range uint64(10) {
				if err := s.Put(t.Context(), "k", sealed(100*w+i, 4*smallChunk)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got := mustGet(t, s, "k"); !whole(got.Value) {
		t.Error("the value is torn")
	}
	if got := generations(t, s, "k"); len(got) != 1 {
		t.Errorf("generations %v, want one", got)
	}
}

func TestUpdatesOfOneRecordAreSerialized(t *testing.T) {
	s := newTerm(t, newClient(t))
	mustPut(t, s, "count", []byte("0"))
	const writers, increments = 4, 10
	var counting sync.WaitGroup
	for range writers {
		counting.Go(func() {
			for range increments {
				for done := false; !done; {
					record, err := s.Get(t.Context(), "count")
					if err != nil {
						t.Error(err)
						return
					}
					var n int
					if _, err := fmt.Sscan(string(record.Value), &n); err != nil {
						t.Error(err)
						return
					}
					_, err = s.Update(t.Context(), "count", fmt.Append(nil, n+1), record.Revision)
					if err != nil && !errors.Is(err, ErrConflict) {
						t.Error(err)
						return
					}
					done = err == nil
				}
			}
		})
	}
	counting.Wait()
	if got := string(mustGet(t, s, "count").Value); got != fmt.Sprint(writers*increments) {
		t.Errorf("counted to %s, want %d", got, writers*increments)
	}
}

func TestAFailedWriteLeavesNoChunks(t *testing.T) {
	s := newTerm(t, newClient(t))
	mustPut(t, s, "k", []byte("v"))
	if _, err := s.Create(t.Context(), "k", noise(1, 5*smallChunk)); !errors.Is(err, ErrExists) {
		t.Fatalf("error %v, want ErrExists", err)
	}
	if got := generations(t, s, "k"); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// interruptingTransformer encrypts some values and then calls interrupt.
type interruptingTransformer struct {
	value.Transformer
	after     int
	interrupt func()
}

func (i *interruptingTransformer) TransformToStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, error) {
	if i.after--; i.after < 0 {
		i.interrupt()
	}
	return i.Transformer.TransformToStorage(ctx, data, dataCtx)
}

func TestAnInterruptedWriteChangesNothing(t *testing.T) {
	s := newTerm(t, newClient(t))
	mustPut(t, s, "k", noise(1, 3*smallChunk))
	for after := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		interrupted := *s
		interrupted.transformer = &interruptingTransformer{Transformer: s.transformer, after: after, interrupt: cancel}
		if err := interrupted.Put(ctx, "k", noise(2, 4*smallChunk-100)); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted after %d chunks: %v, want the context's error", after, err)
		}
		if got := mustGet(t, s, "k"); !bytes.Equal(got.Value, noise(1, 3*smallChunk)) {
			t.Errorf("interrupted after %d chunks, and the value has changed", after)
		}
		if got := generations(t, s, "k"); len(got) != 1 {
			t.Errorf("interrupted after %d chunks, generations %v, want one", after, got)
		}
	}
}

// TestADiscardedWriteCannotComeThrough: a head swap whose answer was lost may reach etcd after its
// chunks were removed.
func TestADiscardedWriteCannotComeThrough(t *testing.T) {
	ctx := t.Context()
	s := newTerm(t, newClient(t))
	mustPut(t, s, "k", []byte("v"))
	m := manifest{Generation: newGeneration(1)}
	if err := s.writeChunks(ctx, 1, "k", &m, noise(1, 3*smallChunk)); err != nil {
		t.Fatal(err)
	}
	s.discard(ctx, 1, "k", m.Generation)
	if _, err := s.swap(ctx, 1, "k", head{chunked: &m}, anyRevision); err == nil {
		t.Error("the late swap succeeded")
	}
	if got := mustGet(t, s, "k"); string(got.Value) != "v" {
		t.Errorf("the value is %q", got.Value)
	}
}

// TestDiscardKeepsAWriteThatCameThrough: the swap's answer was lost, but not the swap.
func TestDiscardKeepsAWriteThatCameThrough(t *testing.T) {
	ctx := t.Context()
	s := newTerm(t, newClient(t))
	value := noise(1, 3*smallChunk)
	mustPut(t, s, "k", value)
	for generation := range generations(t, s, "k") {
		s.discard(ctx, 1, "k", generation)
	}
	if got := mustGet(t, s, "k"); !bytes.Equal(got.Value, value) {
		t.Error("the value has changed")
	}
}

func TestSweepRemovesWhatCrashedWritersLeft(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	crashed := newTerm(t, client)
	live := noise(1, 5*smallChunk)
	mustPut(t, crashed, "live", live)
	mustPut(t, crashed, "unreadable", live)
	for _, key := range []string{"live", "never/made", "unreadable"} {
		m := manifest{Generation: newGeneration(1)}
		if err := crashed.writeChunks(ctx, 1, key, &m, noise(2, 3*smallChunk)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Put(ctx, crashed.layout.head("unreadable"), "damaged"); err != nil {
		t.Fatal(err)
	}
	foreign := crashed.layout.chunks() + "not-ours"
	if _, err := client.Put(ctx, foreign, "x"); err != nil {
		t.Fatal(err)
	}

	s := newTerm(t, client)
	underWay := manifest{Generation: newGeneration(2)}
	if err := s.writeChunks(ctx, 2, "under/way", &underWay, noise(3, 3*smallChunk)); err != nil {
		t.Fatal(err)
	}
	if removed, err := s.Sweep(ctx); err != nil || removed != 2 {
		t.Errorf("Sweep removed the chunks of %d writes, %v, want 2", removed, err)
	}
	if got := mustGet(t, s, "live"); !bytes.Equal(got.Value, live) {
		t.Error("a live value has changed")
	}
	for key, want := range map[string]int{"live": 1, "never/made": 0, "unreadable": 2, "under/way": 1} {
		if got := generations(t, s, key); len(got) != want {
			t.Errorf("%s has generations %v, want %d", key, got, want)
		}
	}
	if resp, err := client.Get(ctx, foreign, clientv3.WithCountOnly()); err != nil || resp.Count != 1 {
		t.Errorf("a key that is no chunk is gone: %v", err)
	}
	if removed, err := s.Sweep(ctx); err != nil || removed != 0 {
		t.Errorf("a second Sweep removed %d, %v", removed, err)
	}
}
