// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-project/muster/test/fleet"
)

const (
	readRate  = 200 // selections a second
	writeRate = 20  // status writes a second beside them
	setCount  = 100
	// warmUp is not measured: connections, caches of authorizations.
	warmUp = 3 * time.Second
)

// readGoals are at most so many milliseconds, for the 99th percentile.
type readGoals struct{ consistent, cached, aggregated float64 }

// readGoalsAt are those for a fleet of this size.
func readGoalsAt(clusters int) readGoals {
	switch {
	case clusters <= 1_000:
		return readGoals{3, 1, 6}
	case clusters <= 10_000:
		return readGoals{4, 2, 8}
	default:
		return readGoals{6, 3, 12}
	}
}

// measureSelectionReads is G1.
func measureSelectionReads(ctx context.Context, b *bench, report func(*Measure)) error {
	sizes := b.clusters
	if len(sizes) == 0 {
		sizes = []int{100, 1_000, 10_000, 100_000}
	}
	return b.withFleet(ctx, fleet.Options{Name: "g1"}, func(ctx context.Context, f *fleet.Fleet) (err error) {
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
		empty, err := startFakeClusters(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, empty.stop()) }()
		bare, err := newBareReader(empty.endpoint)
		if err != nil {
			return err
		}
		for _, size := range sizes {
			began := time.Now()
			if err := seed.grow(ctx, size); err != nil {
				return fmt.Errorf("registering %d clusters: %w", size, err)
			}
			if err := awaitSelected(ctx, ways.direct, size); err != nil {
				return err
			}
			idle, err := awaitIdle(ctx, f.Muster.PID())
			if err != nil {
				return err
			}
			b.logf("G1: %d clusters are there after %.0fs; Muster uses %.2f CPUs without load", size, time.Since(began).Seconds(), idle)
			m, err := readsAt(ctx, b, f, newLoads(ways, bare), size)
			if err != nil {
				return fmt.Errorf("with %d clusters: %w", size, err)
			}
			report(m)
		}
		return nil
	})
}

func setName(i int) string { return fmt.Sprintf("set-%03d", i) }

// createSets makes sets of which each matches one of the shards.
func createSets(ctx context.Context, f *fleet.Fleet) error {
	var manifests strings.Builder
	for i := range setCount {
		fmt.Fprintf(&manifests, "---\napiVersion: lib.projectsveltos.io/v1beta1\nkind: ClusterSet\nmetadata: {name: %s}\n"+
			"spec: {clusterSelector: {matchLabels: {shard: %q}}, maxReplicas: 100}\n", setName(i), shardOf(i))
	}
	if _, err := f.Host.Kubectl().Input(ctx, manifests.String(), "apply", "--server-side", "-f", "-"); err != nil {
		return fmt.Errorf("creating the sets: %w", err)
	}
	return nil
}

// awaitSelected waits until every set has selected, and its status says so.
func awaitSelected(ctx context.Context, r *reader, clusters int) error {
	for i := range setCount {
		want := min(100, clusters/shards)
		err := fleet.Await(ctx, func(ctx context.Context) error {
			answer, err := r.selection(ctx, setName(i))
			if err != nil {
				return err
			}
			if got := len(answer.Selected); got != want || !answer.Persisted {
				return fmt.Errorf("%s has %d clusters selected, want %d; persisted: %t", setName(i), got, want, answer.Persisted)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("waiting for the selections: %w", err)
		}
	}
	return nil
}

// load is one kind of read.
type load struct {
	name string
	read func(ctx context.Context, i int) error
	// alone leaves the writes out.
	alone bool
	p50s  []float64
	p99s  []float64
}

// readsAt measures a fleet of one size. The kinds of reads take turns, so that
// a busy minute of the machine is no kind's alone; a figure is the median of
// its turns, and the least is shown beside.
func readsAt(ctx context.Context, b *bench, f *fleet.Fleet, loads []*load, clusters int) (*Measure, error) {
	w, err := newWriter(ctx, f, clusters)
	if err != nil {
		return nil, err
	}
	for run := range b.repeat(3) {
		for i := range loads {
			stop := b.profiling(ctx, f, fmt.Sprintf("g1-%d-%s-%d", clusters, loads[i].name, run), b.window)
			err := loads[i].turn(ctx, w, b.window)
			if err := errors.Join(err, stop()); err != nil {
				return nil, fmt.Errorf("%s reads: %w", loads[i].name, err)
			}
			b.logf("G1: %d clusters, %s: p50 %.2f ms, p99 %.2f ms", clusters, loads[i].name, loads[i].p50s[run], loads[i].p99s[run])
		}
	}
	goals := readGoalsAt(clusters)
	consistent, cached, aggregated, floor, machine := loads[0], loads[1], loads[2], loads[3], loads[4]
	m := &Measure{Name: "G1"}
	return m.Number("clusters", float64(clusters), 0).
		Number("p50_ms", median(consistent.p50s), 2).
		AtMost("p99_ms", median(consistent.p99s), goals.consistent, 2).
		AtMost("cached_p99_ms", median(cached.p99s), goals.cached, 2).
		AtMost("aggregated_p99_ms", median(aggregated.p99s), goals.aggregated, 2).
		Number("p99_min_ms", slices.Min(consistent.p99s), 2).
		Number("cached_p99_min_ms", slices.Min(cached.p99s), 2).
		Number("aggregated_p99_min_ms", slices.Min(aggregated.p99s), 2).
		Number("floor_p99_ms", median(floor.p99s), 2).
		Number("machine_p99_ms", median(machine.p99s), 2), nil
}

func newLoads(ways *readers, bare *reader) []*load {
	selection := func(r *reader, suffix string) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			_, err := r.get(ctx, selectionPath(setName(rand.N(setCount)))+suffix)
			return err
		}
	}
	return []*load{
		{name: "consistent", read: selection(ways.direct, "")},
		{name: "cached", read: selection(ways.direct, "&resourceVersion=0")},
		{name: "aggregated", read: selection(ways.aggregated, "")},
		// What Muster takes for a request that is no work.
		{name: "floor", read: version(ways.direct)},
		// What this machine and client take without Muster.
		{name: "machine", read: version(bare), alone: true},
	}
}

func version(r *reader) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		_, err := r.get(ctx, "/version")
		return err
	}
}

// turn keeps the load up, and the writes beside it.
func (l *load) turn(ctx context.Context, w *writer, window time.Duration) error {
	var latencies []float64
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if l.alone {
			return nil
		}
		_, err := openLoop(ctx, writeRate, warmUp+window, pauseUntil, w.write)
		if err != nil {
			return fmt.Errorf("status write: %w", err)
		}
		return nil
	})
	group.Go(func() (err error) {
		latencies, err = openLoop(ctx, readRate, warmUp+window, pauseUntil, l.read)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	latencies = latencies[int(warmUp.Seconds()*readRate):]
	l.p50s = append(l.p50s, quantile(latencies, 0.5))
	l.p99s = append(l.p99s, quantile(latencies, 0.99))
	return nil
}
