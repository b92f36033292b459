// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
)

// maxAside is how many jobs of one cluster may be aside. Each has a goroutine and
// a watch, and works beside the others once its wait is over.
const maxAside = 32

// ErrSuperseded is the cause for which a wait ends early: a newer job with the same
// key is queued, and can't begin before.
var ErrSuperseded = errors.New("what is waited for is out of date, a newer job is queued")

// place is what a job has while it is the one that its cluster's worker does.
type place struct {
	workers *Workers
	ref     Ref
	queue   *queue
	key     string
	given   bool // up, for good
	// superseded ends when a newer job with the same key is queued, or the job ends.
	superseded context.Context
	supersede  context.CancelFunc
}

// newPlace is for a job that is about to begin.
func newPlace(w *Workers, ref Ref, q *queue, key string) *place {
	p := &place{workers: w, ref: ref, queue: q, key: key}
	// Not with the workers' own end, which is another cause; end cancels it.
	p.superseded, p.supersede = context.WithCancel(context.WithoutCancel(w.ctx))
	return p
}

// placeKey is the key of a job's place in its context.
type placeKey struct{}

// StepAside lets the other jobs for a cluster go on while the job that ctx belongs
// to waits for something that the cluster does in its own time: Pods that start, a
// Job that runs. From then on the job runs beside the others, until it returns; a
// job with the same key begins only afterwards. Outside of a job of Workers, and
// where too many others are aside, it does nothing.
func StepAside(ctx context.Context) {
	if p, ok := ctx.Value(placeKey{}).(*place); ok {
		p.workers.giveUp(p)
	}
}

// UntilSuperseded returns a context for a wait that need not last when what is waited
// for is out of date: it ends with ErrSuperseded as its cause when a newer job with the
// key of the one that ctx belongs to is queued. The caller calls cancel.
func UntilSuperseded(ctx context.Context) (_ context.Context, cancel func()) {
	p, ok := ctx.Value(placeKey{}).(*place)
	if !ok {
		return ctx, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.superseded, func() { end(ErrSuperseded) })
	return ctx, func() { stop(); end(nil) }
}

func (w *Workers) giveUp(p *place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := p.queue
	if p.given || q.aside >= maxAside || w.ended || w.ctx.Err() != nil {
		return
	}
	p.given = true
	q.aside++
	q.working = false
	if q.runnable() >= 0 {
		w.employ(p.ref, q)
	}
}

// end notes that a job has ended, and reports whether its goroutine goes on as the
// queue's worker: one that gave its place up does so only if nobody has it.
func (w *Workers) end(p *place) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.supersede()
	q := p.queue
	delete(q.running, p.key)
	if !p.given {
		return true
	}
	q.aside--
	if q.working {
		return false
	}
	q.working = true
	return true
}
