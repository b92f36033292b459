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

	"github.com/muster-project/muster/pkg/storage/rounds"
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

// serveRounds reads the store's revision for those who wait, one reading at a time. It returns when ctx
// ends, or with ErrStoreReplaced.
func (f *Follower) serveRounds(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.rounds.Wake():
		}
		r := f.rounds.Take()
		if err := f.serveRound(ctx, r); err != nil {
			return err
		}
	}
}

func (f *Follower) serveRound(ctx context.Context, r *rounds.Round[int64]) error {
	// Read before the store is asked: while it answers, the follower may get ahead of the answer.
	reached := f.Revision()
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	revision, err := f.opts.CurrentRevision(limited)
	if err == nil && revision < reached {
		err = wentBack(revision, reached)
	}
	r.End(revision, err)
	if errors.Is(err, ErrStoreReplaced) {
		return err
	}
	if err == nil {
		f.progress.want(revision)
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
