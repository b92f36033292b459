// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reload restarts the Pods of workloads in managed clusters when a ConfigMap or a
// Secret that they use changes.
//
// What a workload was last seen with is in an annotation of the workload itself, which
// restarts nothing: so neither a new leader nor a new process takes for a change what it
// sees for the first time, and a change that nobody saw is made up for.
package reload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

const (
	// gatherTime is the time between a change and the restart, in which more changes may
	// come: a rollout of an application changes several objects at once.
	gatherTime = 300 * time.Millisecond
	// firstRetry and lastRetry are the pauses before what failed is done again.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Workload is a Deployment, StatefulSet or DaemonSet.
type Workload struct {
	Kind, Namespace, Name string
}

// Targets are what one profile has on one cluster.
type Targets struct {
	Workloads []Workload
	// Releases have workloads in their own namespace.
	Releases []inventory.ReleaseKey
}

// TargetsOf are the workloads and releases in a record.
func TargetsOf(record *inventory.Record) Targets {
	var targets Targets
	if record == nil {
		return targets
	}
	for _, object := range record.Objects {
		if _, known := resources[object.Kind]; known && object.Group == group {
			targets.Workloads = append(targets.Workloads, Workload{object.Kind, object.Namespace, object.Name})
		}
	}
	for _, release := range record.Releases {
		targets.Releases = append(targets.Releases, release.ReleaseKey)
	}
	return targets
}

func (t Targets) empty() bool { return len(t.Workloads)+len(t.Releases) == 0 }

// namespaces are where its workloads are, and so what they use.
func (t Targets) namespaces() []string {
	var out []string
	for _, w := range t.Workloads {
		out = append(out, w.Namespace)
	}
	for _, r := range t.Releases {
		out = append(out, r.Namespace)
	}
	return out
}

// ErrPaused says that nothing may be changed in a cluster for now.
var ErrPaused = errors.New("the cluster is paused")

// Connect returns the client of a cluster, fenced against former leaders. Its error wraps
// ErrPaused where a person wants it so: what changes meanwhile is made up for.
type Connect func(ctx context.Context, cluster fleet.Ref) (*fleet.Client, error)

// Reloader follows the workloads of all clusters. Each cluster has a goroutine of its own.
type Reloader struct {
	connect Connect

	mu       sync.Mutex
	ctx      context.Context // nil until Run
	clusters map[fleet.Ref]*cluster
	running  sync.WaitGroup
}

// New returns a Reloader that begins with Run.
func New(connect Connect) *Reloader {
	return &Reloader{connect: connect, clusters: map[fleet.Ref]*cluster{}}
}

var errRan = errors.New("a reloader runs once")

// Run follows workloads until ctx ends, and returns when nothing is under way any more.
func (r *Reloader) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.ctx != nil {
		r.mu.Unlock()
		return errRan
	}
	r.ctx = ctx
	for _, c := range r.clusters {
		r.start(c)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.running.Wait()
	return nil
}

// start starts following a cluster. The lock is held.
func (r *Reloader) start(c *cluster) {
	if r.ctx == nil || r.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	c.cancel = cancel
	r.running.Go(func() {
		defer cancel()
		c.run(ctx)
	})
}

// Set says what a profile has on a cluster now, which is looked at: nothing ends it. It
// does not block.
func (r *Reloader) Set(ref fleet.Ref, owner inventory.OwnerKey, targets Targets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.clusters[ref]
	if before == nil && targets.empty() {
		return
	}
	next := &cluster{ref: ref, connect: r.connect, targets: map[inventory.OwnerKey]Targets{}, wake: make(chan struct{}, 1)}
	if before != nil {
		for other, theirs := range before.allTargets() {
			next.targets[other] = theirs
		}
	}
	if next.targets[owner] = targets; targets.empty() {
		delete(next.targets, owner)
	}
	if before != nil && slices.Equal(before.namespaces(), next.namespaces()) {
		before.set(owner, targets)
		return
	}
	if before != nil && before.cancel != nil {
		before.cancel()
	}
	if delete(r.clusters, ref); len(next.targets) == 0 {
		return
	}
	r.clusters[ref] = next
	r.start(next)
}

// Follows reports whether there is anything on a cluster to follow.
func (r *Reloader) Follows(ref fleet.Ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clusters[ref] != nil
}
