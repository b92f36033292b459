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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/gather"
)

// used is a ConfigMap or Secret that a workload uses.
type used struct {
	kind, namespace, name string
}

// cluster follows the workloads of one cluster, in namespaces that do not change.
type cluster struct {
	ref     fleet.Ref
	connect Connect
	cancel  context.CancelFunc // guarded by the Reloader's lock
	// wake is full if there is something to look at.
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	targets map[inventory.OwnerKey]Targets
	// all says that everything has to be looked at, changed which of what is used.
	all     bool
	changed map[used]bool
	// uses is what each workload was last seen to use.
	uses map[Workload][]used
}

func (c *cluster) allTargets() map[inventory.OwnerKey]Targets {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.targets)
}

func (c *cluster) namespaces() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, t := range c.targets {
		out = append(out, t.namespaces()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// set changes what one owner has, in the same namespaces.
func (c *cluster) set(owner inventory.OwnerKey, targets Targets) {
	c.mu.Lock()
	if targets.empty() {
		delete(c.targets, owner)
	} else {
		c.targets[owner] = targets
	}
	c.mu.Unlock()
	c.look()
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

// saw notes that something changed, if a workload uses it.
func (c *cluster) saw(one used) {
	c.mu.Lock()
	relevant := false
	for _, uses := range c.uses {
		relevant = relevant || slices.Contains(uses, one)
	}
	if relevant {
		if c.changed == nil {
			c.changed = map[used]bool{}
		}
		c.changed[one] = true
	}
	c.mu.Unlock()
	if relevant {
		c.signal()
	}
}

// take returns what has to be looked at, and forgets it.
func (c *cluster) take() (all bool, changed map[used]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, changed = c.all, c.changed
	c.all, c.changed = false, nil
	return all, changed
}

// run follows the cluster until ctx ends.
func (c *cluster) run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, namespace := range c.namespaces() {
		for kind, resource := range map[string]string{"ConfigMap": "configmaps", "Secret": "secrets"} {
			watches.Go(func() { c.follow(ctx, namespace, kind, resource) })
		}
	}
	c.look()
	retry := firstRetry
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
			retry = firstRetry
			continue
		}
		if ctx.Err() == nil && !errors.Is(err, ErrPaused) {
			klog.FromContext(ctx).Info("Workloads could not be looked at, or not be restarted", "cluster", c.ref, "reason", err.Error())
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

func (c *cluster) follow(ctx context.Context, namespace, kind, resource string) {
	gather.Follow(ctx, func(ctx context.Context) (*fleet.Client, schema.GroupVersionResource, error) {
		client, err := c.connect(ctx, c.ref)
		return client, corev1.SchemeGroupVersion.WithResource(resource), err
	}, namespace, "", c.look, func(object *metav1.PartialObjectMetadata) {
		c.saw(used{kind, namespace, object.Name})
	})
}

// reload looks at all workloads, or at those that use what has changed.
func (c *cluster) reload(ctx context.Context, all bool, changed map[used]bool) error {
	client, err := c.connect(ctx, c.ref)
	if err != nil {
		return err
	}
	h := hand{client: client.Dynamic}
	var workloads []Workload
	if all {
		if workloads, err = h.find(ctx, slices.Collect(maps.Values(c.allTargets()))); err != nil {
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
	if c.uses == nil {
		c.uses = map[Workload][]used{}
	}
	for w := range c.uses {
		if !slices.Contains(workloads, w) {
			delete(c.uses, w)
		}
	}
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
