// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

// restartGoal is at most so many seconds, for a fleet of up to 10,000 clusters.
const restartGoal = 5

// measureRestarts is G7.
func measureRestarts(ctx context.Context, b *bench, report func(*Measure)) error {
	return errors.Join(measureRestart(ctx, b, report), measureTakeover(ctx, b, report))
}

// measureRestart is the part of G7 with one server.
func measureRestart(ctx context.Context, b *bench, report func(*Measure)) error {
	sizes := b.clusters
	if len(sizes) == 0 {
		sizes = []int{10_000}
	}
	return b.withFleet(ctx, fleet.Options{Name: "g7"}, func(ctx context.Context, f *fleet.Fleet) error {
		seed, err := newSeeder(ctx, f)
		if err != nil {
			return err
		}
		if err := createSets(ctx, f); err != nil {
			return err
		}
		ways, err := newReaders(ctx, f)
		if err != nil {
			return err
		}
		for _, size := range sizes {
			if err := seed.grow(ctx, size); err != nil {
				return fmt.Errorf("registering %d clusters: %w", size, err)
			}
			if err := awaitSelected(ctx, ways.direct, size); err != nil {
				return err
			}
			var times []float64
			for run := range b.repeat(5) {
				if _, err := awaitIdle(ctx, f.Muster.PID()); err != nil {
					return err
				}
				ready, err := restart(ctx, f, ways.direct, size)
				if err != nil {
					return fmt.Errorf("restart %d: %w", run+1, err)
				}
				b.logf("G7: restart %d with %d clusters: ready after %.2fs", run+1, size, ready)
				times = append(times, ready)
			}
			m := &Measure{Name: "G7"}
			report(m.Text("event", "restart").Number("clusters", float64(size), 0).
				AtMost("ready_s", median(times), restartGoal, 2).
				Number("ready_min_s", slices.Min(times), 2).
				Number("ready_max_s", slices.Max(times), 2).
				Number("runs", float64(len(times)), 0))
		}
		return nil
	})
}

// restart ends Muster in an orderly way and returns the seconds from its start
// until it is ready and has answered what a set selects.
func restart(ctx context.Context, f *fleet.Fleet, r *reader, clusters int) (seconds float64, err error) {
	if err := f.Muster.Stop(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	started := make(chan error, 1)
	go func() {
		// It waits for the host, too, which finds Muster again seconds later.
		err := f.Muster.Start(ctx)
		if err != nil {
			cancel()
		}
		started <- err
	}()
	for {
		err := answers(ctx, r, clusters)
		if err == nil {
			seconds = time.Since(began).Seconds()
			break
		}
		if ctx.Err() != nil {
			return 0, errors.Join(<-started, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return seconds, <-started
}

// answers fails unless Muster is ready and a selection is complete.
func answers(ctx context.Context, r *reader, clusters int) error {
	if _, err := r.get(ctx, "/readyz"); err != nil {
		return err
	}
	answer, err := r.selection(ctx, setName(0))
	if err != nil {
		return err
	}
	if got, want := len(answer.Selected), min(100, clusters/shards); got != want {
		return fmt.Errorf("%d clusters are selected, want %d", got, want)
	}
	return nil
}
