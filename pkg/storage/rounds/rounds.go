// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rounds lets callers share readings of a store. The reading that is
// under way may have been answered before the call: only the next one is certain
// to see what was written before it.
package rounds

import "sync"

// Round is one reading, which any number of callers wait for.
type Round[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// Done is closed when the round has ended.
func (r *Round[T]) Done() <-chan struct{} { return r.done }

// Result is how the round has ended. It must not be called before.
func (r *Round[T]) Result() (T, error) { return r.value, r.err }

// End ends the round. Whoever took it has to call it once.
func (r *Round[T]) End(value T, err error) {
	r.value, r.err = value, err
	close(r.done)
}

// Rounds gathers callers for the next round while one is under way.
type Rounds[T any] struct {
	wake chan struct{}
	mu   sync.Mutex
	next *Round[T]
}

// New returns rounds that nobody has joined.
func New[T any]() *Rounds[T] { return &Rounds[T]{wake: make(chan struct{}, 1)} }

// Join returns the next round, which has not begun yet.
func (r *Rounds[T]) Join() *Round[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &Round[T]{done: make(chan struct{})}
		r.wake <- struct{}{} // never blocks: Take follows each receive, and only then is next nil again
	}
	return r.next
}

// Wake yields once for each round that somebody has joined. Take has to follow.
func (r *Rounds[T]) Wake() <-chan struct{} { return r.wake }

// Take begins the next round: whoever joins from now on joins the one after it.
func (r *Rounds[T]) Take() *Round[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.next
	r.next = nil
	return next
}
