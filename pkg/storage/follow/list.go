// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// readTimeout limits one request to etcd, so that one that hangs does not hold up others for ever.
const readTimeout = 10 * time.Second

// change is one change of one key, decoded.
type change struct {
	index    int // of the range
	key      string
	revision int64
	deleted  bool
	apply    func()           // nil if deleted or undecodable
	err      error            // why it is undecodable
	raw      *mvccpb.KeyValue // to try again, if it is
}

// changeOf decodes a watch's event.
func (f *Follower) changeOf(index int, ev *clientv3.Event) change {
	if ev.Type == clientv3.EventTypeDelete {
		return change{index: index, key: string(ev.Kv.Key), revision: ev.Kv.ModRevision, deleted: true}
	}
	return f.put(index, ev.Kv)
}

func (f *Follower) put(index int, kv *mvccpb.KeyValue) change {
	c := change{index: index, key: string(kv.Key), revision: kv.ModRevision}
	if c.apply, c.err = f.ranges[index].put(c.key, kv); c.err != nil {
		c.raw = kv
	}
	return c
}

// deliver applies changes as one step to revision; 0 is a part of the first list.
func (f *Follower) deliver(revision int64, changes []change) {
	f.opts.Commit(revision, func() {
		for _, c := range changes {
			f.applyChange(c)
		}
	})
	if revision > 0 {
		f.position.advance(revision)
	}
	for _, c := range changes {
		if c.err != nil {
			f.opts.OnUndecodable(c.key, c.err)
		}
	}
}

func (f *Follower) applyChange(c change) {
	known := f.known[c.index]
	delete(f.undecodable, c.key)
	switch {
	case c.deleted:
		if known[c.key].applied {
			f.ranges[c.index].gone(c.key, c.revision)
		}
		delete(known, c.key)
	case c.err != nil:
		// The value before it stays: it is better than none.
		known[c.key] = entry{revision: c.revision, applied: known[c.key].applied}
		f.undecodable[c.key] = c
	default:
		c.apply()
		known[c.key] = entry{revision: c.revision, applied: true}
	}
}

// retryUndecodable decodes again what could not be: the key that it is encrypted with may have come
// later than the object.
func (f *Follower) retryUndecodable() {
	var changes []change
	for _, c := range f.undecodable {
		if again := f.put(c.index, c.raw); again.err == nil {
			changes = append(changes, again)
		}
	}
	if len(changes) > 0 {
		f.deliver(f.Revision(), changes)
	}
}

// list reads all ranges at one revision and applies what is different from what is known. The first
// list is applied page by page, others in one step, so that no reader sees something go and return.
func (f *Follower) list(ctx context.Context) error {
	l := lister{f: f, first: !f.Synced()}
	for i := range f.ranges {
		if err := l.list(ctx, i); err != nil {
			return fmt.Errorf("list %s: %w", f.ranges[i].Prefix(), err)
		}
	}
	if l.at < f.Revision() {
		return wentBack(l.at, f.Revision())
	}
	sortByRevision(l.changes)
	f.deliver(l.at, l.changes)
	return nil
}

// lister collects what one list of all ranges changes.
type lister struct {
	f       *Follower
	first   bool
	at      int64 // the revision of all pages; that of the first answer
	changes []change
}

// list reads range i.
func (l *lister) list(ctx context.Context, i int) error {
	prefix := l.f.ranges[i].Prefix()
	end := clientv3.GetPrefixRangeEnd(prefix)
	seen := make(map[string]struct{}, len(l.f.known[i]))
	for key, more := prefix, true; more; {
		resp, err := l.page(ctx, key, end)
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			seen[string(kv.Key)] = struct{}{}
			if l.f.known[i][string(kv.Key)].revision != kv.ModRevision {
				l.changes = append(l.changes, l.f.put(i, kv))
			}
		}
		if l.first {
			l.f.deliver(0, l.changes)
			l.changes = nil
		}
		if more = resp.More && len(resp.Kvs) > 0; more {
			key = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		}
	}
	for key := range l.f.known[i] {
		if _, ok := seen[key]; !ok {
			l.changes = append(l.changes, change{index: i, key: key, revision: l.at, deleted: true})
		}
	}
	return nil
}

func (l *lister) page(ctx context.Context, key, end string) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := l.f.client.Get(ctx, key,
		clientv3.WithRange(end), clientv3.WithLimit(l.f.opts.PageSize), clientv3.WithRev(l.at))
	if err != nil {
		return nil, err
	}
	if err := l.f.store.check(resp.Header); err != nil {
		return nil, err
	}
	if l.at == 0 {
		l.at = resp.Header.Revision
	}
	return resp, nil
}

// linearizableRevision reads the store's revision through consensus. The key is one that nobody
// writes, so that the answer is nothing but the revision.
func (f *Follower) linearizableRevision(ctx context.Context) (int64, error) {
	resp, err := f.client.Get(ctx, f.ranges[0].Prefix(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	if err := f.store.check(resp.Header); err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// storeID is the cluster ID of the store that is followed.
type storeID struct{ id atomic.Uint64 }

// check takes the ID of the first answer, and returns ErrStoreReplaced for an answer with another.
func (s *storeID) check(header *etcdserverpb.ResponseHeader) error {
	got := header.GetClusterId()
	if got == 0 || s.id.CompareAndSwap(0, got) {
		return nil
	}
	if want := s.id.Load(); got != want {
		return fmt.Errorf("%w: its cluster ID is %x and was %x before", ErrStoreReplaced, got, want)
	}
	return nil
}
