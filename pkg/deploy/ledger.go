// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// ledgers guards the records of each cluster. Every change of a record reads
// the stored one, changes it and writes it back under the cluster's lock, so
// that passes of several profiles on one cluster do not overwrite what the
// others took or left in it. No lock is held while a cluster is talked to.
type ledgers struct {
	mu       sync.Mutex
	clusters map[fleet.Ref]*clusterLedger
}

// clusterLedger is what is under way on one cluster.
type clusterLedger struct {
	mu sync.Mutex // held over reads and writes of records
	// users counts the passes that hold a pointer; the last one drops the ledger.
	users   int
	running map[inventory.OwnerKey]chan struct{}
}

// ledger is one owner's access to its record while a pass is under way.
type ledger struct {
	store   *inventory.Store
	cluster Cluster
	owner   inventory.OwnerKey
	shared  *clusterLedger
}

// enter begins a pass: it waits until no other pass of the same owner on the
// same cluster is under way. The caller calls leave.
func (l *ledgers) enter(ctx context.Context, store *inventory.Store, cluster Cluster, owner inventory.OwnerKey) (_ *ledger, leave func(), err error) {
	l.mu.Lock()
	if l.clusters == nil {
		l.clusters = map[fleet.Ref]*clusterLedger{}
	}
	shared := l.clusters[cluster.Ref]
	if shared == nil {
		shared = &clusterLedger{running: map[inventory.OwnerKey]chan struct{}{}}
		l.clusters[cluster.Ref] = shared
	}
	shared.users++
	for {
		other := shared.running[owner]
		if other == nil {
			break
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			err = fmt.Errorf("waiting for another pass of %s on %s: %w", owner, cluster.Ref, ctx.Err())
		}
		l.mu.Lock()
		if err != nil {
			l.release(cluster.Ref, shared)
			l.mu.Unlock()
			return nil, nil, err
		}
	}
	done := make(chan struct{})
	shared.running[owner] = done
	l.mu.Unlock()

	leave = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(shared.running, owner)
		close(done)
		l.release(cluster.Ref, shared)
	}
	return &ledger{store: store, cluster: cluster, owner: owner, shared: shared}, leave, nil
}

func (l *ledgers) release(ref fleet.Ref, shared *clusterLedger) {
	shared.users--
	if shared.users == 0 {
		delete(l.clusters, ref)
	}
}

// busy returns the other owners with a pass under way.
func (l *ledgers) busy(g *ledger) map[inventory.OwnerKey]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	busy := map[inventory.OwnerKey]bool{}
	for owner := range g.shared.running {
		if owner != g.owner {
			busy[owner] = true
		}
	}
	return busy
}

// load returns the settled records of the cluster, the owner's own (nil if
// there is none) apart from the others', and whether the own one was another
// cluster's: that one is forgotten. The caller holds the cluster's lock.
func (g *ledger) load(ctx context.Context) (own *inventory.Record, others []*inventory.Record, voided bool, err error) {
	records, err := g.store.ForCluster(ctx, g.cluster.Ref)
	if err != nil {
		return nil, nil, false, err
	}
	var bound []*inventory.Record
	for _, r := range records {
		switch {
		case r.BoundTo(g.cluster.UID, g.cluster.ID):
			bound = append(bound, r)
		case r.Owner.Key() == g.owner:
			if err := g.store.Delete(ctx, g.cluster.Ref, g.owner); err != nil {
				return nil, nil, false, err
			}
			voided = true
		}
	}
	for _, r := range settle(bound) {
		if err := g.store.Put(ctx, r); err != nil {
			return nil, nil, false, err
		}
	}
	for _, r := range bound {
		if r.Owner.Key() == g.owner {
			own = r
		} else {
			others = append(others, r)
		}
	}
	return own, others, voided, nil
}

// errRecordGone says that somebody deleted the record of a pass under way.
var errRecordGone = errors.New("the inventory was deleted while it was in use")

// update changes the owner's record and returns it as it is stored then. A
// change that changes nothing writes nothing.
func (g *ledger) update(ctx context.Context, change func(*inventory.Record)) (*inventory.Record, error) {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	r, err := g.store.Get(ctx, g.cluster.Ref, g.owner)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("%s on %s: %w", g.owner, g.cluster.Ref, errRecordGone)
	}
	before := r.Clone()
	change(r)
	if same, err := equal(before, r); err != nil || same {
		return r, err
	}
	return r, g.store.Put(ctx, r)
}

// bequeath moves an entry to another owner that wants it, if there is one, and
// returns that owner. move does it in memory.
func (g *ledger) bequeath(ctx context.Context, wants func(*inventory.Record) bool, move func(from, to *inventory.Record)) (*inventory.OwnerKey, error) {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	own, others, _, err := g.load(ctx)
	if err != nil || own == nil {
		return nil, err
	}
	to := heir(others, g.owner, wants)
	if to == nil {
		return nil, nil
	}
	move(own, to)
	// The heir first: were it the other way round, a death in between would
	// leave an object that nobody owns.
	if err := g.store.Put(ctx, to); err != nil {
		return nil, err
	}
	key := to.Owner.Key()
	return &key, g.store.Put(ctx, own)
}

// drop forgets the owner's record if it says nothing, and reports whether
// there is none now.
func (g *ledger) drop(ctx context.Context) (dropped bool, err error) {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	r, err := g.store.Get(ctx, g.cluster.Ref, g.owner)
	if err != nil || r == nil {
		return r == nil, err
	}
	if !isBlank(r) {
		return false, nil
	}
	return true, g.store.Delete(ctx, g.cluster.Ref, g.owner)
}

// concludeTimeout bounds the writes that end a pass whose ctx has ended.
const concludeTimeout = 5 * time.Second

// conclude is update for what has happened already, and is to be recorded also
// when ctx has ended. Without it the record is still true, but says less.
func (g *ledger) conclude(ctx context.Context, change func(*inventory.Record)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), concludeTimeout)
	defer cancel()
	_, err := g.update(ctx, change)
	return err
}

// isBlank reports whether a record says nothing.
func isBlank(r *inventory.Record) bool {
	return r.Empty() && len(r.WantedObjects) == 0 && len(r.WantedReleases) == 0
}

// equal reports whether two records are stored as the same bytes. Times lose
// what is below a second there, so that comparing the structs would not do.
func equal(a, b *inventory.Record) (bool, error) {
	if reflect.DeepEqual(a, b) {
		return true, nil // as most are, and that costs less than to encode them
	}
	x, err := inventory.Encode(a)
	if err != nil {
		return false, err
	}
	y, err := inventory.Encode(b)
	return bytes.Equal(x, y), err
}
