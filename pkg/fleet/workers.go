// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"k8s.io/klog/v2"
)

// DefaultQueueLength is how many jobs may wait for one cluster.
const DefaultQueueLength = 1024

// WorkersOptions configure Workers.
type WorkersOptions struct {
	// QueueLength is how many jobs may wait for one cluster; default
	// DefaultQueueLength.
	QueueLength int
}

// Workers do the I/O with clusters that reconcilers must not block on. Each
// cluster has a queue and a worker of its own: jobs for one cluster run one
// after another, in the order in which they were submitted, and a job that
// hangs holds up nothing but its own cluster's. One that only waits lets the
// others go on with StepAside. A worker lives while there is work for it.
type Workers struct {
	length int

	mu      sync.Mutex
	ctx     context.Context // of the jobs; nil until Run
	ended   bool
	queues  map[Ref]*queue
	running sync.WaitGroup
}

// queue is the work for one cluster; it exists while there is some.
type queue struct {
	keys    []string // waiting, in order
	jobs    map[string]func(context.Context)
	working bool
	// running are the jobs that have begun and not ended, by their keys: no other
	// job with such a key begins. aside counts those of them that stepped aside.
	running map[string]*place
	aside   int
}

// NewWorkers returns workers that start with Run.
func NewWorkers(options WorkersOptions) *Workers {
	if options.QueueLength <= 0 {
		options.QueueLength = DefaultQueueLength
	}
	return &Workers{length: options.QueueLength, queues: map[Ref]*queue{}}
}

var errWorkersRan = errors.New("workers run once")

// Run lets jobs run until ctx ends, which is also the end of their contexts,
// and returns when the last one has returned. Jobs that still wait by then are
// dropped; none is accepted any more.
func (w *Workers) Run(ctx context.Context) error {
	if err := w.start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	w.mu.Lock()
	w.ended = true
	clear(w.queues)
	w.mu.Unlock()
	w.running.Wait()
	return nil
}

func (w *Workers) start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil {
		return errWorkersRan
	}
	w.ctx = ctx
	for ref, q := range w.queues {
		w.employ(ref, q)
	}
	return nil
}

// Submit queues a job for a cluster and reports whether it will run. A key
// that is waiting already keeps its place and gets the newer job; one whose
// job is running is queued, so that it runs again afterwards. It is false, and
// the caller has to come back, when the cluster's queue is full or Run has
// ended. Jobs submitted before Run wait for it.
//
// The job's context ends with Run's. A job that panics is logged and counts as
// done: one broken job must not end a process that serves an API.
func (w *Workers) Submit(ref Ref, key string, job func(ctx context.Context)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.ctx != nil && w.ctx.Err() != nil {
		return false
	}
	q := w.queues[ref]
	if q == nil {
		q = &queue{jobs: map[string]func(context.Context){}, running: map[string]*place{}}
		w.queues[ref] = q
	}
	if _, waiting := q.jobs[key]; !waiting {
		if len(q.keys) >= w.length {
			return false
		}
		q.keys = append(q.keys, key)
	}
	q.jobs[key] = job
	if p := q.running[key]; p != nil {
		p.supersede()
	}
	if w.ctx != nil {
		w.employ(ref, q)
	}
	return true
}

// employ starts the queue's worker unless it is at work. The lock is held.
func (w *Workers) employ(ref Ref, q *queue) {
	if !q.working {
		q.working = true
		w.running.Go(func() { w.work(ref, q) })
	}
}

// work runs jobs until none can begin, or until another worker has taken the
// place that its job gave up.
func (w *Workers) work(ref Ref, q *queue) {
	for {
		p, job := w.next(ref, q)
		if job == nil {
			return
		}
		w.do(context.WithValue(w.ctx, placeKey{}, p), ref, p.key, job)
		if !w.end(p) {
			return
		}
	}
}

// next takes the oldest job that may begin off the queue; nil ends the worker.
func (w *Workers) next(ref Ref, q *queue) (*place, func(context.Context)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.ctx.Err() != nil {
		return nil, nil
	}
	i := q.runnable()
	if i < 0 {
		q.working = false
		if len(q.keys)+len(q.running) == 0 {
			delete(w.queues, ref)
		}
		return nil, nil
	}
	p := newPlace(w, ref, q, q.keys[i])
	q.keys = slices.Delete(q.keys, i, i+1)
	job := q.jobs[p.key]
	delete(q.jobs, p.key)
	q.running[p.key] = p
	return p, job
}

// runnable is the index of the oldest key whose job may begin, or -1.
func (q *queue) runnable() int {
	return slices.IndexFunc(q.keys, func(key string) bool { return q.running[key] == nil })
}

func (w *Workers) do(ctx context.Context, ref Ref, key string, job func(context.Context)) {
	defer func() {
		if cause := recover(); cause != nil {
			klog.FromContext(w.ctx).Error(fmt.Errorf("panic: %v", cause), "A job for a cluster panicked",
				"cluster", ref.String(), "key", key, "stack", string(debug.Stack()))
		}
	}()
	job(ctx)
}
