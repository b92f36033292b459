// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// slot is room for one worker process in a pool.
type slot struct {
	pool   *Pool
	worker *worker // nil until needed, and after its death
}

// run takes jobs until ctx ends. It stays on one thread, because the kernel kills a
// worker when the thread that started it ends (see tie).
func (s *slot) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.clear()
	idle := time.NewTimer(s.pool.options.IdleLimit)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			s.clear()
		case j := <-s.pool.jobs:
			j.answer <- s.do(ctx, j)
			idle.Reset(s.pool.options.IdleLimit)
		}
	}
}

// clear ends the slot's worker, if there is one.
func (s *slot) clear() {
	if s.worker != nil {
		s.worker.kill()
		s.worker = nil
	}
}

// do has a job done while both the job's own context and the pool's last.
func (s *slot) do(pool context.Context, j job) error {
	ctx, cancel := context.WithCancelCause(j.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(pool, func() { cancel(ErrNotRunning) })
	defer stop()

	reused := s.worker != nil
	err := s.try(ctx, j.task)
	if !reused || (!errors.Is(err, ErrMemory) && !errors.Is(err, ErrWorker)) {
		return err
	}
	// The worker may have died before it read the request, or of what an earlier one
	// left in its memory. What an evaluation may have must not depend on who came
	// before it, so a fresh worker decides.
	return s.try(ctx, j.task)
}

func (s *slot) try(ctx context.Context, x task) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.worker == nil {
		w, err := startWorker(ctx, s.pool.options.Command, s.pool.options.MemoryLimit)
		if err != nil {
			return err
		}
		s.worker = w
	}
	w := s.worker
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(s.pool.options.WallLimit, func() { cancel(ErrTimeout) })
	defer limit.Stop()
	intact, err := w.exchange(limited, x, func() { limit.Reset(s.pool.options.WallLimit) })
	if !intact {
		s.clear()
	}
	if err != nil {
		return s.explain(limited, w, err)
	}
	return nil
}

// explain says why a worker, which is gone, gave no answer.
func (s *slot) explain(ctx context.Context, w *worker, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, ErrTimeout):
		return fmt.Errorf("%w (limit %s)", ErrTimeout, s.pool.options.WallLimit)
	case cause != nil:
		return cause
	case w.outOfMemory():
		return fmt.Errorf("%w (limit %d MiB)", ErrMemory, s.pool.options.MemoryLimit>>20)
	default:
		return fmt.Errorf("%w: %s: %w", ErrWorker, w.cmd.ProcessState, err)
	}
}
