// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// position is the revision that has been reached.
type position struct {
	revision atomic.Int64

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each advance
}

func newPosition() position { return position{changed: make(chan struct{})} }

// watch returns the revision and a channel that is closed when it is no longer current.
func (p *position) watch() (revision int64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision.Load(), p.changed
}

func (p *position) advance(revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision.Store(revision)
	close(p.changed)
	p.changed = make(chan struct{})
}

// round is one reading of the store's current revision, for all who asked before it began.
type round struct {
	done     chan struct{}
	revision int64
	err      error
}

// rounds gathers readers for the next round while one runs.
type rounds struct {
	mu   sync.Mutex
	next *round
	wake chan struct{}
}

func newRounds() rounds { return rounds{wake: make(chan struct{}, 1)} }

// join returns the next round, which has not begun yet.
func (r *rounds) join() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
		r.wake <- struct{}{} // never blocks: take empties it before next is nil again
	}
	return r.next
}

// take begins the next round: whoever joins from now on joins the one after it.
func (r *rounds) take() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.next
	r.next = nil
	return next
}

// serveRounds reads the store's revision for those who wait, one reading at a time. It returns when ctx
// ends, or with ErrStoreReplaced.
func (f *Follower) serveRounds(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.rounds.wake:
		}
		r := f.rounds.take()
		if err := f.serveRound(ctx, r); err != nil {
			return err
		}
	}
}

func (f *Follower) serveRound(ctx context.Context, r *round) error {
	// Read before the store is asked: while it answers, the follower may get ahead of the answer.
	reached := f.Revision()
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r.revision, r.err = f.opts.CurrentRevision(limited)
	if r.err == nil && r.revision < reached {
		r.err = wentBack(r.revision, reached)
	}
	close(r.done)
	if errors.Is(r.err, ErrStoreReplaced) {
		return r.err
	}
	if r.err == nil {
		f.progress.want(r.revision)
	}
	return nil
}

func wentBack(now, before int64) error {
	return fmt.Errorf("%w: it is at revision %d and was at %d before", ErrStoreReplaced, now, before)
}

// progress is the revision that somebody waits for.
type progress struct {
	wanted atomic.Int64
	wake   chan struct{}
}

func newProgress() progress { return progress{wake: make(chan struct{}, 1)} }

// want asks for progress as far as revision.
func (p *progress) want(revision int64) {
	for {
		old := p.wanted.Load()
		if revision <= old {
			return
		}
		if p.wanted.CompareAndSwap(old, revision) {
			break
		}
	}
	select {
	case p.wake <- struct{}{}:
	default: // it is awake, and reads wanted once more
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
