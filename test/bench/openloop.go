// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// mostFailed is the share of requests that may fail in a measurement.
const mostFailed = 0.1

// openLoop sends rate requests a second for a time, each at its own moment,
// whether or not earlier ones have been answered, and returns the latencies in
// milliseconds, in the order of the moments. A latency counts from the moment
// at which a request was to be sent: one that has to wait behind a slow one is
// slow too, and not left out. A request that fails, one that the server is too
// busy for among them, has an infinite latency; too many of them are an error.
// pause waits for a moment.
func openLoop(ctx context.Context, rate int, window time.Duration, pause func(time.Time), send func(ctx context.Context, i int) error) ([]float64, error) {
	var (
		interval  = time.Second / time.Duration(rate)
		latencies = make([]float64, int(window/interval))
		failures  = make([]error, len(latencies))
		requests  sync.WaitGroup
		start     = time.Now()
	)
	for i := range latencies {
		due := start.Add(time.Duration(i) * interval)
		pause(due)
		if ctx.Err() != nil {
			break
		}
		requests.Go(func() {
			failures[i] = send(ctx, i)
			latencies[i] = milliseconds(time.Since(due))
			if failures[i] != nil {
				latencies[i] = math.Inf(1)
			}
		})
	}
	requests.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return latencies, tooMany(failures)
}

// tooMany is an error, with the first failure in it, if too many failed.
func tooMany(failures []error) error {
	var first error
	failed := 0
	for _, err := range failures {
		if err == nil {
			continue
		}
		failed++
		if first == nil {
			first = err
		}
	}
	if float64(failed) <= mostFailed*float64(len(failures)) {
		return nil
	}
	return fmt.Errorf("%d of %d requests failed, the first: %w", failed, len(failures), first)
}
