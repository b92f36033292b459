// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// schedule is when to look at which subject. Each has one time, the earliest that was
// asked for.
type schedule struct {
	clock   clock.WithTicker
	changed chan struct{} // has room for one

	mu sync.Mutex
	at map[Subject]time.Time
}

func newSchedule(clock clock.WithTicker) *schedule {
	return &schedule{clock: clock, changed: make(chan struct{}, 1), at: map[Subject]time.Time{}}
}

// after has a subject looked at when this time has passed, or earlier if somebody else
// has asked for that.
func (s *schedule) after(name Subject, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.clock.Now().Add(wait)
	if known, ok := s.at[name]; ok && !at.Before(known) {
		return
	}
	s.at[name] = at
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// take returns the subjects whose time has come, and how long it is until the next one's,
// negative if there is none.
func (s *schedule) take() (due []Subject, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	wait = -1
	for name, at := range s.at {
		left := at.Sub(now)
		switch {
		case left <= 0:
			due = append(due, name)
			delete(s.at, name)
		case wait < 0 || left < wait:
			wait = left
		}
	}
	return due, wait
}

// run calls look for each subject when its time has come, until ctx ends.
func (s *schedule) run(ctx context.Context, look func(Subject)) {
	for ctx.Err() == nil {
		due, wait := s.take()
		for _, name := range due {
			look(name)
		}
		if len(due) > 0 {
			continue
		}
		var elapsed <-chan time.Time
		stop := func() bool { return true }
		if wait >= 0 {
			timer := s.clock.NewTimer(wait)
			elapsed, stop = timer.C(), timer.Stop
		}
		select {
		case <-ctx.Done():
		case <-s.changed:
		case <-elapsed:
		}
		stop()
	}
}
