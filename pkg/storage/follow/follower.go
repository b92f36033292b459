// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package follow keeps something in memory, an index, equal to ranges of
// etcd's key space, at one revision for all of them, and can tell when it has
// caught up with the store.
//
// A follower lists its ranges at one revision and watches from there. Events
// of all ranges are applied in the order of revisions, and only up to a
// revision that every range is known to have reached: what has been applied
// is at any time exactly what the store held at Revision.
//
// All watches share one gRPC stream: clientv3 multiplexes the watches of one
// Watcher whose contexts carry the same metadata, and the follower has a
// Watcher of its own. That is what makes a progress response, which etcd sends
// for a stream and only when all of its watches are synced, cover all ranges
// and wait for nobody else's. The response is correct for etcd 3.5.8 and later
// (before, it could overtake events).
package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/rounds"
)

const (
	// The pause after a session that was interrupted; it doubles while nothing moves.
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
)

var (
	// ErrStopped says that the follower does not run any more.
	ErrStopped = errors.New("follower has stopped")
	// ErrStoreReplaced says that the store is another one than before: its cluster ID is
	// different, or its revision went back. What was followed says nothing about it.
	ErrStoreReplaced = errors.New("the etcd store was replaced or restored")
)

// Options are the parts of a follower that callers choose. All are optional.
type Options struct {
	// Commit is called for each step forward with the revision that it leads to, and must call
	// deliver exactly once, which calls the ranges' Apply. An index takes its lock around
	// deliver and notes the revision, so that readers never see half of a step. While the
	// first list is read, steps are parts of it, and revision is 0.
	Commit func(revision int64, deliver func())
	// OnUndecodable is told of an object that cannot be decoded. What was applied for its key
	// before stays; decoding is tried again every few seconds.
	OnUndecodable func(key string, err error)
	// CurrentRevision reads the store's current revision linearizably: not older than any write
	// that was acknowledged before the call. Default: a read through etcd's consensus. An
	// embedded etcd's own Revision is much cheaper.
	CurrentRevision func(ctx context.Context) (int64, error)
	// PageSize is how many keys one list request asks for. Default: 500.
	PageSize int64
	// ProgressPeriod is how often a follower that nobody asks makes sure that it is current,
	// which also keeps its position from being compacted away. Default: 5 s.
	ProgressPeriod time.Duration
}

// Follower follows ranges. It is safe for concurrent use.
type Follower struct {
	client *clientv3.Client
	ranges []Range
	opts   Options

	position position
	rounds   *rounds.Rounds[int64]
	store    storeID
	progress progress
	stopped  chan struct{}
	stopErr  error // set when stopped is closed

	// The rest belongs to Run's goroutine.
	known       []map[string]entry // by range and key
	undecodable map[string]change  // by key
	mustList    bool
}

// entry is what the follower knows of a key.
type entry struct {
	revision int64
	applied  bool // whether a value of it was ever applied: an undecodable one is known, but not applied
}

// New returns a follower of ranges, which must not overlap. Run makes it follow, once.
func New(client *clientv3.Client, ranges []Range, opts Options) *Follower {
	if opts.Commit == nil {
		opts.Commit = func(_ int64, deliver func()) { deliver() }
	}
	if opts.OnUndecodable == nil {
		opts.OnUndecodable = func(string, error) {}
	}
	opts.PageSize = cmp.Or(opts.PageSize, 500)
	opts.ProgressPeriod = cmp.Or(opts.ProgressPeriod, 5*time.Second)
	f := &Follower{
		client:      client,
		ranges:      ranges,
		opts:        opts,
		position:    newPosition(),
		rounds:      rounds.New[int64](),
		progress:    newProgress(),
		stopped:     make(chan struct{}),
		known:       make([]map[string]entry, len(ranges)),
		undecodable: map[string]change{},
		mustList:    true,
	}
	if f.opts.CurrentRevision == nil {
		f.opts.CurrentRevision = f.linearizableRevision
	}
	for i := range f.known {
		f.known[i] = map[string]entry{}
	}
	return f
}

// Run follows until ctx ends, and then returns nil, or until the store turns out to be another
// one, and then returns an error that is ErrStoreReplaced. Everything else, such as an etcd that
// is away or has compacted too much, is retried, and what was applied stays as it is meanwhile.
// Run may be called once.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		if err := f.serveRounds(ctx); err != nil {
			cancel(err)
		}
	})
	err := f.follow(ctx)
	cancel(nil)
	reading.Wait()
	f.stopErr = ErrStopped
	if err != nil {
		f.stopErr = fmt.Errorf("%w: %w", ErrStopped, err)
	}
	close(f.stopped)
	return err
}

// follow runs one watch session after the other.
func (f *Follower) follow(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	pause := minPause
	for {
		before := f.Revision()
		err := f.session(ctx)
		if cause := context.Cause(ctx); errors.Is(cause, ErrStoreReplaced) {
			err = cause
		} else if cause != nil {
			return nil
		}
		if errors.Is(err, ErrStoreReplaced) {
			return err
		}
		if f.Revision() > before {
			pause = minPause
		}
		logger.Info("Following etcd was interrupted and is tried again", "revision", f.Revision(), "reason", err, "pause", pause)
		sleep(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// WaitCurrent waits until everything that was written before the call has been applied, and
// returns the revision that has been reached. Readers that wait together share the requests to
// etcd. It fails if etcd does not answer, if ctx ends or the follower has ended.
func (f *Follower) WaitCurrent(ctx context.Context) (int64, error) {
	// The round that runs already may have read the revision before the caller's write: only the
	// next one is certain to read it afterwards.
	r := f.rounds.Join()
	select {
	case <-r.Done():
	case <-ctx.Done():
		return 0, fmt.Errorf("read etcd's revision: %w", context.Cause(ctx))
	case <-f.stopped:
		return 0, f.stopErr
	}
	revision, err := r.Result()
	if err != nil {
		return 0, fmt.Errorf("read etcd's revision: %w", err)
	}
	return f.waitFor(ctx, revision)
}

// WaitSynced waits until the first list has been applied.
func (f *Follower) WaitSynced(ctx context.Context) error {
	_, err := f.waitFor(ctx, 1)
	return err
}

// waitFor waits until revision has been reached, and returns what has been.
func (f *Follower) waitFor(ctx context.Context, revision int64) (int64, error) {
	for {
		at, changed := f.position.watch()
		if at >= revision {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for revision %d, at %d: %w", revision, at, context.Cause(ctx))
		case <-f.stopped:
			return 0, f.stopErr
		}
	}
}

// Synced says whether the first list has been applied.
func (f *Follower) Synced() bool { return f.Revision() > 0 }

// Revision is the revision that what has been applied is at; 0 before the first list has been.
func (f *Follower) Revision() int64 { return f.position.revision.Load() }
