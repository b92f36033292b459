// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reload restarts the Pods of workloads in managed clusters when a ConfigMap or a
// Secret that they use changes, each with the rights of whom its profile is deployed as.
//
// What a workload was last seen with is in an annotation of the workload itself, which
// restarts nothing: so neither a new leader nor a new process takes for a change what it
// sees for the first time, and a change that nobody saw is made up for.
package reload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/watches"
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

// Connect returns the client of a cluster that acts as an identity, fenced against former
// leaders. Its error wraps ErrPaused where a person wants it so: what changes meanwhile is
// made up for.
type Connect func(ctx context.Context, cluster fleet.Ref, as fleet.Identity) (*fleet.Client, error)

// Watches tell what changes in clusters; *watches.Watches does.
type Watches interface {
	Subscribe(key watches.Key, handler watches.Handler) (stop func())
}

// Report tells whose workloads could not be looked at or restarted, and why. It is called
// once for each reason in a row, and not while a cluster is paused.
type Report func(ctx context.Context, cluster fleet.Ref, owners []inventory.OwnerKey, err error)

// place is a cluster, and as whom it is changed.
type place struct {
	ref fleet.Ref
	as  fleet.Identity
}

// Reloader follows the workloads of all clusters. Each cluster has a goroutine of its own
// for each identity that something was deployed to it as. What is watched is a matter of
// Muster's, and shared: it tells that something has changed, and no more. What is then read
// and restarted is so as the identity alone.
type Reloader struct {
	connect Connect
	watches Watches
	report  Report

	mu       sync.Mutex
	ctx      context.Context // nil until Run
	clusters map[place]*cluster
	running  sync.WaitGroup
}

// New returns a Reloader that begins with Run.
func New(connect Connect, watches Watches, report Report) *Reloader {
	return &Reloader{connect: connect, watches: watches, report: report, clusters: map[place]*cluster{}}
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

// Set says what a profile that is deployed as an identity has on a cluster now, which is
// looked at: nothing ends it. It does not block.
func (r *Reloader) Set(ref fleet.Ref, as fleet.Identity, owner inventory.OwnerKey, targets Targets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, c := range r.clusters {
		if at.ref == ref && at.as != as && c.has(owner) {
			r.set(at, owner, Targets{}) // it was deployed as somebody else before
		}
	}
	r.set(place{ref, as}, owner, targets)
}

// Forget says that a profile has nothing on a cluster any more. It does not block.
func (r *Reloader) Forget(ref fleet.Ref, owner inventory.OwnerKey) {
	r.Set(ref, fleet.Identity{}, owner, Targets{})
}

// set is Set in one place. The lock is held.
func (r *Reloader) set(at place, owner inventory.OwnerKey, targets Targets) {
	c := r.clusters[at]
	if c == nil && targets.empty() {
		return
	}
	if c == nil {
		c = newCluster(at, r.connect, r.report)
		r.clusters[at] = c
		r.start(c)
	}
	if c.set(owner, targets) {
		c.follow(r.watches)
		return
	}
	delete(r.clusters, at)
	c.follow(r.watches) // nothing any more
	if c.cancel != nil {
		c.cancel()
	}
}

// Follows reports whether there is anything on a cluster to follow as an identity.
func (r *Reloader) Follows(ref fleet.Ref, as fleet.Identity) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clusters[place{ref, as}] != nil
}
