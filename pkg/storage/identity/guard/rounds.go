// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import "sync"

// round is one check, which any number of callers wait for.
type round struct {
	done chan struct{}
	err  error // set when done is closed
}

// rounds lets callers share checks. The check that runs already may have read
// the store before the call: only the next one is certain to read it afterwards.
type rounds struct {
	wake chan struct{}
	mu   sync.Mutex
	next *round
}

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
