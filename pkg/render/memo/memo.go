// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package memo remembers what was fetched, up to a size, and lets callers that ask for the
// same at the same time share one answer.
package memo

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// Cache keeps values up to a total size; the least recently used go first. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	limit int64

	mu    sync.Mutex
	size  int64
	order *list.List // of *cached, most recently used first
	items map[K]*list.Element
}

type cached[K comparable, V any] struct {
	key   K
	value V
	size  int64
}

// NewCache returns a cache for values whose sizes add up to limit at most.
func NewCache[K comparable, V any](limit int64) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, order: list.New(), items: map[K]*list.Element{}}
}

// Get returns a value, and whether it is there.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.items[key]
	if !ok {
		var zero V
		return zero, false
	}
	c.order.MoveToFront(element)
	return element.Value.(*cached[K, V]).value, true
}

// Put adds or replaces a value. One above the limit is not kept.
func (c *Cache[K, V]) Put(key K, value V, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.items[key]; ok {
		c.remove(element)
	}
	if size > c.limit {
		return
	}
	c.items[key] = c.order.PushFront(&cached[K, V]{key, value, size})
	c.size += size
	for c.size > c.limit {
		c.remove(c.order.Back())
	}
}

// Size is that of all values that are kept.
func (c *Cache[K, V]) Size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

func (c *Cache[K, V]) remove(element *list.Element) {
	item := c.order.Remove(element).(*cached[K, V])
	delete(c.items, item.key)
	c.size -= item.size
}

// Flights makes callers that ask for the same at the same time share one
// answer: a fail-over asks for one chart for many clusters at once.
type Flights[K comparable, V any] struct {
	mu      sync.Mutex
	running map[K]*flight[V]
}

type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// errAbandoned is the answer of a flight whose ctx ended: it says nothing to
// those who waited for it.
var errAbandoned = errors.New("abandoned")

// Do runs work in the caller's goroutine, or waits for the caller that does.
// If that one's ctx ends, another one takes over.
func (f *Flights[K, V]) Do(ctx context.Context, key K, work func() (V, error)) (V, error) {
	for {
		own, other := f.board(key)
		if own != nil {
			return f.fly(ctx, key, own, work)
		}
		select {
		case <-other.done:
			if !errors.Is(other.err, errAbandoned) {
				return other.value, other.err
			}
		case <-ctx.Done():
			var zero V
			return zero, ctx.Err()
		}
	}
}

// fly does the work of a flight, and lands also if that panics: those who wait
// would wait for ever.
func (f *Flights[K, V]) fly(ctx context.Context, key K, own *flight[V], work func() (V, error)) (value V, err error) {
	own.err = errAbandoned
	defer func() { value, err = f.land(ctx, key, own) }()
	own.value, own.err = work()
	return value, err
}

// board returns a flight to fly, or one to wait for.
func (f *Flights[K, V]) board(key K) (own, other *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.running[key]; other != nil {
		return nil, other
	}
	if f.running == nil {
		f.running = map[K]*flight[V]{}
	}
	own = &flight[V]{done: make(chan struct{})}
	f.running[key] = own
	return own, nil
}

// land gives the answer to those who wait, and returns the caller's own.
func (f *Flights[K, V]) land(ctx context.Context, key K, own *flight[V]) (V, error) {
	f.mu.Lock()
	delete(f.running, key)
	f.mu.Unlock()
	value, err := own.value, own.err
	if ctx.Err() != nil {
		own.err = errAbandoned
		err = ctx.Err()
	}
	close(own.done)
	return value, err
}
