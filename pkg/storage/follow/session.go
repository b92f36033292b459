// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// A progress request is answered in well under a millisecond, or never: etcd drops it while
	// one of the stream's watches is not synced, which it tries again every 100 ms.
	minProgressRetry = 3 * time.Millisecond
	maxProgressRetry = 50 * time.Millisecond
)

// response is what one range's watch yields.
type response struct {
	index int
	clientv3.WatchResponse
	closed bool
}

// session lists, if it must, and watches all ranges from where the follower is, until a watch ends.
func (f *Follower) session(ctx context.Context) error {
	if f.mustList {
		if err := f.list(ctx); err != nil {
			return err
		}
		f.mustList = false
	}
	// A Watcher of our own: on a stream that others watch on too, theirs would have to be synced as
	// well before etcd answers a progress request.
	watcher := clientv3.NewWatcher(f.client)
	// WithRequireLeader makes a member that has lost its quorum end the watch rather than stay
	// silent. It is metadata, so every call that is to reach the same stream needs this context.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	var working sync.WaitGroup
	defer func() {
		cancel()
		_ = watcher.Close() // before waiting: it ends calls that wait for a connection
		working.Wait()
	}()
	responses := make(chan response)
	from := f.Revision() + 1
	for i, r := range f.ranges {
		working.Go(func() {
			watch := watcher.Watch(ctx, r.Prefix(), clientv3.WithPrefix(), clientv3.WithRev(from))
			forward(ctx, i, watch, responses)
		})
	}
	working.Go(func() { f.requestProgress(ctx, watcher) })
	return f.consume(ctx, responses)
}

// forward hands one watch's responses on until the watch or ctx ends.
func forward(ctx context.Context, index int, watch clientv3.WatchChan, responses chan<- response) {
	for {
		r := response{index: index}
		select {
		case wr, ok := <-watch:
			r.WatchResponse, r.closed = wr, !ok
		case <-ctx.Done():
			return
		}
		select {
		case responses <- r:
		case <-ctx.Done():
			return
		}
		if r.closed {
			return
		}
	}
}

// requestProgress asks etcd for progress for as long as somebody waits for a revision that has not
// been reached.
func (f *Follower) requestProgress(ctx context.Context, watcher clientv3.Watcher) {
	for {
		retry := minProgressRetry
		for {
			at, changed := f.position.watch()
			if at >= f.progress.wanted.Load() {
				break
			}
			if err := watcher.RequestProgress(ctx); err != nil {
				return // the session has ended or is about to
			}
			if !await(ctx, changed, retry) {
				retry = min(2*retry, maxProgressRetry)
			}
			if ctx.Err() != nil {
				return
			}
		}
		select {
		case <-f.progress.wake:
		case <-ctx.Done():
			return
		}
	}
}

// await waits for changed, and says whether it came before d was over or ctx had ended.
func await(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// consume takes in what the watches yield.
func (f *Follower) consume(ctx context.Context, responses <-chan response) error {
	ticker := time.NewTicker(f.opts.ProgressPeriod)
	defer ticker.Stop()
	cut := newCut(f.Revision(), len(f.ranges))
	for {
		select {
		case r := <-responses:
			if err := f.check(r); err != nil {
				return err
			}
			f.advance(cut, r)
		case <-ticker.C:
			f.rounds.Join() // nobody waits for it; it makes the follower ask for progress
			f.retryUndecodable()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// check returns what ends the session.
func (f *Follower) check(r response) error {
	prefix := f.ranges[r.index].Prefix()
	if r.closed {
		return fmt.Errorf("watch of %s has ended", prefix)
	}
	if err := r.Err(); err != nil {
		if errors.Is(err, rpctypes.ErrCompacted) {
			f.mustList = true
		}
		return fmt.Errorf("watch of %s: %w", prefix, err)
	}
	return f.store.check(r.Header)
}

// advance takes one response in and applies everything up to the revision that all ranges have
// reached with it.
func (f *Follower) advance(c *cut, r response) {
	for _, ev := range r.Events {
		c.add(f.changeOf(r.index, ev))
	}
	switch n := len(r.Events); {
	case n > 0:
		// Not the header's revision: etcd sends a watch that lags behind its events in batches, all
		// under the revision of the last batch. A revision's events are never divided.
		c.reach(r.index, r.Events[n-1].Kv.ModRevision)
	case r.IsProgressNotify():
		c.reach(r.index, r.Header.Revision)
	}
	reached, changes := c.take()
	if reached > f.Revision() {
		f.deliver(reached, changes)
	}
	// What waits for other ranges should not wait for somebody to ask.
	f.progress.want(c.newest())
}

// cut merges the ranges' events into one order.
type cut struct {
	reached []int64  // by range
	pending []change // not applied yet
}

func newCut(revision int64, ranges int) *cut {
	return &cut{reached: slices.Repeat([]int64{revision}, ranges)}
}

func (c *cut) add(ch change) { c.pending = append(c.pending, ch) }

func (c *cut) reach(index int, revision int64) {
	c.reached[index] = max(c.reached[index], revision)
}

// newest is the last revision that any range has reached.
func (c *cut) newest() int64 { return slices.Max(c.reached) }

// take returns the revision that every range has reached, and removes and returns the changes up to
// it in the order of their revisions.
func (c *cut) take() (int64, []change) {
	reached := slices.Min(c.reached)
	sortByRevision(c.pending)
	n := len(c.pending)
	if i := slices.IndexFunc(c.pending, func(ch change) bool { return ch.revision > reached }); i >= 0 {
		n = i
	}
	changes := slices.Clone(c.pending[:n])
	c.pending = slices.Delete(c.pending, 0, n)
	return reached, changes
}

// sortByRevision keeps the order of changes of one revision: a transaction's changes have one, and an
// order.
func sortByRevision(changes []change) {
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.revision, b.revision) })
}
