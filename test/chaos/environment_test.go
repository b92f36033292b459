// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/fleet"
)

var (
	rounds = flag.Int("rounds", 1, "how often each fault strikes")
	seed   = flag.Uint64("seed", 0, "seed of the moments that faults strike at; drawn if 0")
)

const (
	// replicas is how many servers run.
	replicas = 3
	// startLimit bounds the fleet's start.
	startLimit = 5 * time.Minute
	// convergence is how long after the end of a fault everything may take to be
	// as it should.
	convergence = 60 * time.Second
	// takeoverLimit is how long another replica may take to lead; it is generous,
	// because CI machines are slow. How fast it is is for the benchmarks to say.
	takeoverLimit = 30 * time.Second
)

// environment is a fleet with replicas, and clients of everything in it.
type environment struct {
	fleet   *fleet.Fleet
	random  *rand.Rand
	struck  tally
	changes int // of the content so far
	history *history
	starts  [][2]time.Time // of the host's API server, from and to
	host    kubernetes.Interface
	// managed has clients of the managed clusters, past their proxies, replicas
	// those of each replica, past the host.
	managed  map[string]kubernetes.Interface
	dynamic  map[string]dynamic.Interface // of the managed clusters too
	replicas map[string]versioned.Interface
}

// start starts a fleet for a test. Its directory, with all logs, stays if the
// test fails.
func start(t *testing.T) *environment {
	t.Helper()
	return startWith(t, replicas, 0)
}

// startWith starts a fleet with so many replicas, the last of which, spare, are
// not started.
func startWith(t *testing.T, replicas, spare int) *environment {
	t.Helper()
	return startFleet(t, fleet.Options{Name: "chaos", Managed: []string{"cluster1", "cluster2"}, Replicas: replicas, Spare: spare})
}

// startFleet starts the fleet that options describe, in a directory of its own.
func startFleet(t *testing.T, options fleet.Options) *environment {
	t.Helper()
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("seed=%d rounds=%d", chosen, *rounds)
	dir, err := os.MkdirTemp("", "muster-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	options.Dir, options.Logf = dir, t.Logf
	f, err := fleet.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	e := &environment{fleet: f, random: rand.New(rand.NewPCG(chosen, chosen))}
	t.Cleanup(func() { e.stop(t) })
	e.connect(t)
	return e
}

func (e *environment) connect(t *testing.T) {
	t.Helper()
	e.managed, e.replicas = map[string]kubernetes.Interface{}, map[string]versioned.Interface{}
	e.dynamic = map[string]dynamic.Interface{}
	for _, c := range append(e.fleet.Clusters(), e.fleet.Host) {
		config, err := c.RESTConfig()
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if c == e.fleet.Host {
			e.host = client
		} else {
			e.managed[c.Name()] = client
			if e.dynamic[c.Name()], err = dynamic.NewForConfig(config); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, replica := range e.fleet.Muster.Replicas() {
		config, err := e.fleet.Muster.ReplicaConfig(replica)
		if err != nil {
			t.Fatal(err)
		}
		config.WarningHandler = rest.NoWarnings{} // a set that selects nothing draws one
		if e.replicas[replica.Name()], err = versioned.NewForConfig(config); err != nil {
			t.Fatal(err)
		}
	}
	e.history = newHistory(e.host, "muster")
	e.history.start(context.WithoutCancel(t.Context()))
}

func (e *environment) stop(t *testing.T) {
	if e.history != nil {
		e.history.stop()
	}
	if t.Failed() {
		t.Logf("Muster's logs end:\n%s\nAll logs are in %s", e.fleet.Muster.LogTail(), e.fleet.Dir())
	}
	if err := e.fleet.Stop(); err != nil {
		t.Error(err)
	}
	if !t.Failed() {
		if err := os.RemoveAll(e.fleet.Dir()); err != nil {
			t.Error(err)
		}
	}
}

// besideOthers lets tests that strike once run beside each other: they wait more than
// they work.
func besideOthers(t *testing.T) {
	if *rounds == 1 {
		t.Parallel()
	}
}

// eventually waits until check succeeds, and says how long that took.
func eventually(t *testing.T, what string, within time.Duration, check func(context.Context) error) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := fleet.Await(ctx, check); err != nil {
		t.Fatalf("waited %s until %s: %v", within, what, err)
	}
	return time.Since(began)
}

// pause lets time pass before a fault strikes, or for as long as it lasts.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	}
}

// moment is a random time to strike at.
func (e *environment) moment(most time.Duration) time.Duration {
	return time.Duration(e.random.Int64N(int64(most)))
}

// apply applies a manifest through the host.
func (e *environment) apply(t *testing.T, format string, args ...any) {
	t.Helper()
	manifest := fmt.Sprintf(format, args...)
	if _, err := e.fleet.Host.Kubectl().Input(t.Context(), manifest, "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
}
