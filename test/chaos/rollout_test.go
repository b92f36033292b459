// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-project/muster/test/fleet"
)

// gracePeriod is the shipped terminationGracePeriodSeconds.
const gracePeriod = 110 * time.Second

// TestOperations does what operators do to an installation: it begins with one
// replica, and is scaled, upgraded, restored and wiped. Beside it clocks jump.
func TestOperations(t *testing.T) {
	besideOthers(t)
	// An upgrade starts three in place of three.
	e := startWith(t, 2*replicas, 2*replicas-1)
	e.deploy(t)
	for round := range *rounds {
		clocks := rand.New(rand.NewPCG(e.random.Uint64(), uint64(round)))
		t.Run(fmt.Sprintf("round %d", round), func(t *testing.T) {
			t.Run("clocks", func(t *testing.T) {
				t.Parallel()
				e.testClocks(t, round, clocks)
			})
			t.Run("replicas", func(t *testing.T) {
				t.Parallel()
				before, seen := e.uids(t), e.seenByAll(t)
				e.scaleUp(t, before, seen)
				e.testRollingRestart(t, before, seen)
				e.scaleDown(t, before, seen)
			})
		})
		t.Run(fmt.Sprintf("restore %d", round), func(t *testing.T) { e.testRestore(t, round == 1) })
		// Once alone it costs more than it tells: a restore was held for much the same
		// reason, and packages identity and guard have every reason in their tests.
		if *rounds > 1 {
			t.Run(fmt.Sprintf("etcd is wiped and another installation's %d", round), e.testWiped)
		}
		if t.Failed() {
			break
		}
	}
	e.expectNothingStale(t)
	e.expectNothingForbidden(t)
}

// running are the replicas that run.
func (e *environment) running() (running, spare []*fleet.Server) {
	for _, replica := range e.fleet.Muster.Replicas() {
		if replica.Running() {
			running = append(running, replica)
		} else {
			spare = append(spare, replica)
		}
	}
	return running, spare
}

// seenByAll is what every replica that runs serves: selection, inventories and
// summaries.
func (e *environment) seenByAll(t *testing.T) string {
	t.Helper()
	var seen string
	eventually(t, "all replicas serve the same", convergence, func(ctx context.Context) error {
		seen = ""
		running, _ := e.running()
		for _, replica := range running {
			view, err := e.views(ctx, replica.Name())
			if err != nil {
				return err
			}
			if seen != "" && view != seen {
				return fmt.Errorf("%s serves\n%s\nand another replica\n%s", replica.Name(), view, seen)
			}
			seen = view
		}
		return nil
	})
	return seen
}

// expectKeptAll sees to it that every object is the one that it was, and that all
// replicas serve what was served.
func (e *environment) expectKeptAll(t *testing.T, uids, seen string) {
	t.Helper()
	if now := e.uids(t); now != uids {
		t.Errorf("there is\n%s\nthere was\n%s", now, uids)
	}
	if now := e.seenByAll(t); now != seen {
		t.Errorf("served is\n%s\nserved was\n%s", now, seen)
	}
}

// scaleUp goes from one replica, which was the first ever, to three.
func (e *environment) scaleUp(t *testing.T, uids, seen string) {
	running, spare := e.running()
	if len(running) != 1 {
		t.Fatalf("%d replicas run, want one", len(running))
	}
	var starting errgroup.Group
	for _, replica := range spare[:replicas-1] {
		starting.Go(func() error { return replica.Start(t.Context()) })
	}
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
	e.change(t, "three in place of one")
	e.awaitSettled(t, "three in place of one")
	e.expectKeptAll(t, uids, seen)
	if leader := e.leader(t); leader != running[0] {
		t.Errorf("%s leads, because replicas came to %s", leader.Name(), running[0].Name())
	}
}

// testRollingRestart replaces three replicas as the Deployment does it, with its
// maxSurge 1 and maxUnavailable 0: a new one is ready before an old one is told to
// end, and the next new one does not wait until it has.
func (e *environment) testRollingRestart(t *testing.T, uids, seen string) {
	old, spare := e.running()
	if len(old) != replicas || len(spare) != replicas {
		t.Fatalf("%d replicas run, and %d do not", len(old), len(spare))
	}
	load := e.startLoad(t)
	ctx, cancel := context.WithTimeout(t.Context(), gracePeriod+startLimit)
	defer cancel()
	var ending errgroup.Group
	struck := time.Now()
	for i, replica := range spare {
		if err := replica.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("step=replaced-%d %s after %.2f s", i, old[i].Name(), time.Since(struck).Seconds())
		ending.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, gracePeriod)
			defer cancel()
			return old[i].Stop(ctx)
		})
	}
	e.change(t, "rolled out")
	if err := ending.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("all were replaced after %.2f s", time.Since(struck).Seconds())
	load.finish(t)
	e.awaitSettled(t, "rolled out")
	e.expectKeptAll(t, uids, seen)
}

// scaleDown goes from three replicas to one, which may be one that has followed.
func (e *environment) scaleDown(t *testing.T, uids, seen string) {
	running, _ := e.running()
	kept := running[e.random.IntN(len(running))]
	t.Logf("step=keeps-leader-%t", kept == e.leader(t))
	var ending errgroup.Group
	ctx, cancel := context.WithTimeout(t.Context(), gracePeriod)
	defer cancel()
	for _, replica := range running {
		if replica != kept {
			ending.Go(func() error { return replica.Stop(ctx) })
		}
	}
	if err := ending.Wait(); err != nil {
		t.Fatal(err)
	}
	if leader := e.leader(t); leader != kept {
		t.Errorf("%s leads and does not run", leader.Name())
	}
	e.change(t, "one of three")
	e.awaitSettled(t, "one of three")
	e.expectKeptAll(t, uids, seen)
}
