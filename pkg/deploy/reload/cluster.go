// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// used is a ConfigMap or Secret that a workload uses.
type used struct {
	kind, namespace, name string
}

// cluster follows the workloads that one identity has in one cluster.
type cluster struct {
	place
	connect Connect
	report  Report
	cancel  context.CancelFunc // guarded by the Reloader's lock
	// watches are what is watched, guarded by the Reloader's lock.
	watches map[scope]func()
	// wake is full if there is something to look at.
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	targets map[inventory.OwnerKey]Targets
	// all says that everything has to be looked at, changed which of what is used.
	all     bool
	changed map[used]bool
	// looking is true while workloads are looked at: what they use is only known when
	// that ends, and until then any change may be of it.
	looking bool
	// uses is what each workload was last seen to use, and versions the resourceVersion
	// that this was last seen to have, empty if it does not exist.
	uses     map[Workload][]used
	versions map[used]string
}

func newCluster(at place, connect Connect, report Report) *cluster {
	return &cluster{
		place: at, connect: connect, report: report, watches: map[scope]func(){}, wake: make(chan struct{}, 1),
		targets: map[inventory.OwnerKey]Targets{}, uses: map[Workload][]used{}, versions: map[used]string{},
	}
}

func (c *cluster) allTargets() []Targets {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.targets))
}

func (c *cluster) owners() []inventory.OwnerKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.targets))
}

func (c *cluster) namespaces() []string {
	var out []string
	for _, t := range c.allTargets() {
		out = append(out, t.namespaces()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (c *cluster) has(owner inventory.OwnerKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, has := c.targets[owner]
	return has
}

// set changes what one owner has, and reports whether there is anything left.
func (c *cluster) set(owner inventory.OwnerKey, targets Targets) bool {
	c.mu.Lock()
	if targets.empty() {
		delete(c.targets, owner)
	} else {
		c.targets[owner] = targets
	}
	left := len(c.targets) > 0
	c.mu.Unlock()
	c.look()
	return left
}

// look has everything looked at.
func (c *cluster) look() {
	c.mu.Lock()
	c.all = true
	c.mu.Unlock()
	c.signal()
}

func (c *cluster) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // it will be seen together
	}
}

func (c *cluster) setLooking(looking bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looking = looking
}

// take returns what has to be looked at, and forgets it.
func (c *cluster) take() (all bool, changed map[used]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, changed = c.all, c.changed
	c.all, c.changed = false, nil
	return all, changed
}

// run looks at what there is to look at until ctx ends.
func (c *cluster) run(ctx context.Context) {
	c.look()
	retry, told := firstRetry, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		if !sleep(ctx, gatherTime) {
			return
		}
		all, changed := c.take()
		err := c.reload(ctx, all, changed)
		if err == nil {
			retry, told = firstRetry, ""
			continue
		}
		// A conflict says that somebody else was faster, and that it is tried again.
		if ctx.Err() == nil && !errors.Is(err, ErrPaused) && !apierrors.IsConflict(err) && told != err.Error() {
			told = err.Error()
			klog.FromContext(ctx).Info("Workloads could not be looked at, or not be restarted", "cluster", c.ref, "as", c.as.UserName(), "reason", told)
			c.report(ctx, c.ref, c.owners(), err)
		}
		if !sleep(ctx, retry) {
			return
		}
		retry = min(2*retry, lastRetry)
		c.look()
	}
}

func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// reload looks at all workloads, or at those that use what has changed.
func (c *cluster) reload(ctx context.Context, all bool, changed map[used]bool) error {
	client, err := c.connect(ctx, c.ref, c.as)
	if err != nil {
		return err
	}
	h := hand{client: client.Dynamic}
	c.setLooking(true)
	defer c.setLooking(false)
	var workloads []Workload
	if all {
		if workloads, err = h.find(ctx, c.allTargets()); err != nil {
			return err
		}
		c.keep(workloads)
	} else {
		workloads = c.users(changed)
	}
	var errs []error
	for _, w := range workloads {
		uses, err := h.reload(ctx, w)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.mu.Lock()
		c.uses[w] = uses
		c.mu.Unlock()
	}
	return errors.Join(errs...)
}

// keep forgets what others than these workloads use.
func (c *cluster) keep(workloads []Workload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.uses, func(w Workload, _ []used) bool { return !slices.Contains(workloads, w) })
	maps.DeleteFunc(c.versions, func(u used, _ string) bool { return !c.isUsed(u) })
}

// users are the workloads that use any of these.
func (c *cluster) users(changed map[used]bool) []Workload {
	c.mu.Lock()
	defer c.mu.Unlock()
	var workloads []Workload
	for w, uses := range c.uses {
		if slices.ContainsFunc(uses, func(u used) bool { return changed[u] }) {
			workloads = append(workloads, w)
		}
	}
	return workloads
}
