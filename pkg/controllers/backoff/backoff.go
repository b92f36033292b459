// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backoff says how long a controller waits before it asks its reconciler
// again about what has failed.
package backoff

import (
	"time"

	"k8s.io/client-go/util/workqueue"
)

const (
	first = 5 * time.Millisecond
	most  = 15 * time.Second
)

// Limiter returns the rate limiter of one controller: each request that fails
// waits by itself, twice as long each time. Controller-runtime's own waits for up
// to 17 minutes, and lets no more than ten requests a second through for the whole
// fleet: what has failed because etcd was away would go on failing long after it
// has come back.
func Limiter[request comparable]() workqueue.TypedRateLimiter[request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[request](first, most)
}
