// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package trigger feeds controllers from outside the API: a probe's verdict, an
// index change, a finished job.
package trigger

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Source puts requests straight on a controller's queue. Unlike
// controller-runtime's channel source it never blocks the caller, so it may be
// called under another component's locks, and the queue's own de-duplication
// bounds what a burst costs.
type Source[request comparable] struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[request]
	// early holds what was triggered before the controller started: without
	// it a cluster that dies during start-up would wait for the next resync.
	early map[request]struct{}
}

// New returns a source for one controller.
func New[request comparable]() *Source[request] {
	return &Source[request]{early: map[request]struct{}{}}
}

var _ source.TypedSource[string] = &Source[string]{}

// Start hands over the controller's queue; controller-runtime calls it.
func (s *Source[request]) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[request]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = queue
	for r := range s.early {
		queue.Add(r)
	}
	s.early = nil
	return nil
}

// Trigger asks for a reconciliation of r. Triggers of a request that is queued
// already are one; a trigger during its reconciliation makes it run again.
func (s *Source[request]) Trigger(r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue == nil {
		s.early[r] = struct{}{}
		return
	}
	s.queue.Add(r)
}
