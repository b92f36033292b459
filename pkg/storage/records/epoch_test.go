// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestEpochOnlyGrows(t *testing.T) {
	client := newClient(t)
	for want := int64(1); want <= 3; want++ {
		if got, err := RaiseEpoch(t.Context(), client, prefix+"/"); err != nil || got != want {
			t.Fatalf("epoch %d, %v, want %d", got, err, want)
		}
	}
	if got, err := RaiseEpoch(t.Context(), client, "/registry/muster/other"); err != nil || got != 1 {
		t.Errorf("another installation's epoch is %d, %v, want 1", got, err)
	}
}

func TestEpochsRaisedAtOnceAreDifferent(t *testing.T) {
	client := newClient(t)
	epochs := make([]int64, 20)
	var raising sync.WaitGroup
	for i := range epochs {
		raising.Go(func() {
			var err error
			if epochs[i], err = RaiseEpoch(t.Context(), client, prefix); err != nil {
				t.Error(err)
			}
		})
	}
	raising.Wait()
	slices.Sort(epochs)
	for i, epoch := range epochs {
		if epoch != int64(i)+1 {
			t.Fatalf("epochs %v, want 1 to 20", epochs)
		}
	}
}

func TestADamagedEpochIsNotOverwritten(t *testing.T) {
	client := newClient(t)
	for _, damaged := range []string{"", "x", "-1", "0", "9223372036854775808"} {
		if _, err := client.Put(t.Context(), prefix+"/epoch", damaged); err != nil {
			t.Fatal(err)
		}
		if got, err := RaiseEpoch(t.Context(), client, prefix); err == nil || !strings.Contains(err.Error(), "is not an epoch") {
			t.Errorf("epoch %q was raised to %d, %v", damaged, got, err)
		}
	}
}

// TestWritesUnderAnOldEpochAreRefused is what makes a leader that was replaced harmless.
func TestWritesUnderAnOldEpochAreRefused(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	old := newTerm(t, client)
	mustPut(t, old, "k", []byte("old"))
	mustPut(t, old, "large", noise(1, 5*smallChunk))
	at := mustGet(t, old, "k").Revision
	before := etcdKeys(t, client, "")

	current := newTerm(t, client)
	_, createErr := old.Create(ctx, "new", []byte("x"))
	_, updateErr := old.Update(ctx, "k", []byte("x"), at)
	for operation, err := range map[string]error{
		"Put": old.Put(ctx, "k", []byte("x")), "Put of chunks": old.Put(ctx, "k", noise(2, 5*smallChunk)),
		"Create": createErr, "Update": updateErr,
		"Delete": old.Delete(ctx, "k"), "DeleteAt": old.DeleteAt(ctx, "k", at), "Delete of chunks": old.Delete(ctx, "large"),
	} {
		if !errors.Is(err, ErrStaleEpoch) {
			t.Errorf("%s: %v, want ErrStaleEpoch", operation, err)
		}
	}
	if got := mustGet(t, old, "k"); string(got.Value) != "old" {
		t.Errorf("reading goes on with %q, want old", got.Value)
	}
	if after := etcdKeys(t, client, ""); !slices.Equal(before, after) {
		t.Errorf("etcd's keys were %v and are %v", before, after)
	}
	mustPut(t, current, "k", []byte("new"))
}

func TestSweepUnderAnOldEpochIsRefused(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	m := manifest{Generation: newGeneration(1)}
	if err := newTerm(t, client).writeChunks(ctx, 1, "k", &m, noise(1, 2*smallChunk)); err != nil {
		t.Fatal(err)
	}
	old := newTerm(t, client)
	newTerm(t, client)
	if _, err := old.Sweep(ctx); !errors.Is(err, ErrStaleEpoch) {
		t.Errorf("error %v, want ErrStaleEpoch", err)
	}
	if got := generations(t, old, "k"); len(got) != 1 {
		t.Errorf("generations %v, want the one that was there", got)
	}
}

func TestWritesWithoutAnEpochInEtcdAreRefused(t *testing.T) {
	client := newClient(t)
	s := storeAt(t, client, 1)
	if err := s.Put(t.Context(), "k", nil); !errors.Is(err, ErrStaleEpoch) || !strings.Contains(err.Error(), "etcd has none") {
		t.Errorf("error %v, want ErrStaleEpoch", err)
	}
}

func TestFollowersReadAndDoNotWrite(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	mustPut(t, newTerm(t, client), "k", []byte("v"))
	closed := errors.New("gate is closed")
	follower := storeAt(t, client, 0)
	follower.epoch = func() (int64, error) { return 0, closed }

	if got := mustGet(t, follower, "k"); string(got.Value) != "v" {
		t.Errorf("a follower reads %q", got.Value)
	}
	if all, err := listed(ctx, follower, ""); err != nil || len(all) != 1 {
		t.Errorf("a follower lists %v, %v", all, err)
	}
	_, createErr := follower.Create(ctx, "new", nil)
	_, updateErr := follower.Update(ctx, "k", nil, 1)
	_, sweepErr := follower.Sweep(ctx)
	for operation, err := range map[string]error{
		"Put": follower.Put(ctx, "k", nil), "Create": createErr, "Update": updateErr,
		"Delete": follower.Delete(ctx, "k"), "DeleteAt": follower.DeleteAt(ctx, "k", 1), "Sweep": sweepErr,
	} {
		if !errors.Is(err, ErrNotLeading) || !errors.Is(err, closed) {
			t.Errorf("%s: %v, want ErrNotLeading and why", operation, err)
		}
	}
}

func TestARestoreBeginsAnEra(t *testing.T) {
	epoch := int64(17)
	if Era(1) != 0 || Era(epoch) != 0 {
		t.Errorf("without a restore the eras are %d and %d", Era(1), Era(epoch))
	}
	for restores := int64(1); restores < 4; restores++ {
		raised, _, err := EpochAhead([]byte(formatEpoch(epoch)), RestoreEpochs)
		if err != nil {
			t.Fatal(err)
		}
		if epoch = raised + 3; Era(raised) != restores || Era(epoch) != restores {
			t.Errorf("after %d restores the eras are %d and %d", restores, Era(raised), Era(epoch))
		}
	}
}
