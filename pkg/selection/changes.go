// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"slices"
	"sync"
)

// listeners are called in the order in which they came. The list is replaced
// and never changed, so that it can be gone through without the lock.
type listeners struct {
	sync.Mutex
	called []*func(SetKey)
}

// OnChange has changed called with every set whose result may have become
// another one, and with a set that is deleted. It is called after the change
// shows in reads, on the goroutine that made the change and without any lock,
// so that it may read the index, and must not block: a work queue's Add is
// what it is for. Calls are not coalesced, and two that concurrent writers
// cause come in any order. A cluster that matches neither before nor after its
// change causes none. The returned function ends it; a call that has begun by
// then may still be under way.
func (x *Index) OnChange(changed func(SetKey)) (stop func()) {
	// The address tells apart listeners that are the same function.
	listener := &changed
	x.listeners.Lock()
	defer x.listeners.Unlock()
	x.listeners.called = append(slices.Clone(x.listeners.called), listener)
	return func() {
		x.listeners.Lock()
		defer x.listeners.Unlock()
		x.listeners.called = slices.DeleteFunc(slices.Clone(x.listeners.called), func(l *func(SetKey)) bool {
			return l == listener
		})
	}
}

// notify is called without any lock.
func (x *Index) notify(changed []SetKey) {
	x.listeners.Lock()
	called := x.listeners.called
	x.listeners.Unlock()
	for _, listener := range called {
		for _, key := range changed {
			(*listener)(key)
		}
	}
}
