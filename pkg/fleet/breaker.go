// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"sync"
	"time"
)

// ErrUnreachable is what a request fails with, at once, while its cluster is
// known to be unreachable. It is worth a retry after the cluster's health has
// changed, and none before.
var ErrUnreachable = errors.New("cluster is unreachable")

const (
	// timeoutsToOpen is how many answers in a row may fail to come in time. A
	// single one disturbs nobody: a slow API server is not a dead one, and a
	// Helm upgrade that fails half-way costs more than a wait.
	timeoutsToOpen = 2
	// breakerTrial is how long after the latest failure one request may try
	// again. Probes come more often than that and close the breaker
	// themselves; this is for processes that run no prober.
	breakerTrial = 10 * time.Second
)

// breaker remembers that a cluster cannot be reached, so that only its prober
// pays for finding out. A connection that could not be made opens it at once:
// whoever asks next would have to make one too. Any answer closes it.
type breaker struct {
	mu       sync.Mutex
	open     bool
	timeouts int
	// latest is when the latest failure was seen, or a trial let through.
	latest time.Time
}

// rejects reports whether a request would not be sent now.
func (b *breaker) rejects() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open && time.Since(b.latest) < breakerTrial
}

// allow reports whether a request may be sent, which makes it the trial if the
// breaker is open.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return true
	}
	if now := time.Now(); now.Sub(b.latest) >= breakerTrial {
		b.latest = now
		return true
	}
	return false
}

// answered notes that the cluster answered something.
func (b *breaker) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open, b.timeouts = false, 0
}

// unconnected notes that no connection could be made.
func (b *breaker) unconnected() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open, b.latest = true, time.Now()
}

// timedOut notes that an answer did not come in time.
func (b *breaker) timedOut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timeouts++
	b.latest = time.Now()
	b.open = b.open || b.timeouts >= timeoutsToOpen
}
