// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/fleet/watches"
)

// scope is what one watch covers: the ConfigMaps or the Secrets of a namespace.
type scope struct {
	kind, namespace string
}

// watchedResources are those of what workloads use, by kind.
var watchedResources = map[string]string{"ConfigMap": "configmaps", "Secret": "secrets"}

// follow begins the watches that the cluster needs, and ends those that it does not need
// any more. The Reloader's lock is held.
func (c *cluster) follow(from Watches) {
	needed := map[scope]bool{}
	for _, namespace := range c.namespaces() {
		for kind, resource := range watchedResources {
			at := scope{kind, namespace}
			needed[at] = true
			if c.watches[at] == nil {
				key := watches.Key{Cluster: c.ref, Resource: corev1.SchemeGroupVersion.WithResource(resource), Namespace: namespace}
				c.watches[at] = from.Subscribe(key, &watcher{c, at})
			}
		}
	}
	for at, stop := range c.watches {
		if !needed[at] {
			stop()
			delete(c.watches, at)
		}
	}
}

// watcher notes what one watch tells of what workloads use.
type watcher struct {
	cluster *cluster
	scope   scope
}

var _ watches.Handler = &watcher{}

func (w *watcher) used(name string) used { return used{w.scope.kind, w.scope.namespace, name} }

// Listed implements watches.Handler. A watch begins anew whenever somebody else joins it:
// only what is not as it was last seen is looked at again.
func (w *watcher) Listed(objects []*metav1.PartialObjectMetadata, _ string) {
	versions := make(map[string]string, len(objects))
	for _, o := range objects {
		versions[o.Name] = o.ResourceVersion
	}
	w.cluster.listed(w.scope, versions)
}

// Changed implements watches.Handler.
func (w *watcher) Changed(o *metav1.PartialObjectMetadata) {
	w.cluster.saw(w.used(o.Name), o.ResourceVersion)
}

// Gone implements watches.Handler.
func (w *watcher) Gone(o *metav1.PartialObjectMetadata) { w.cluster.saw(w.used(o.Name), "") }

// Failed implements watches.Handler. The list that ends it tells what has changed.
func (w *watcher) Failed(error) {}

// saw notes that something is another one now, if a workload uses it, or may do so for all
// that is known.
func (c *cluster) saw(one used, version string) {
	c.mu.Lock()
	relevant := c.note(one, version)
	c.mu.Unlock()
	if relevant {
		c.signal()
	}
}

// listed is saw for everything of a scope that is used, by the versions of all there is. What
// was never seen before may have changed since it was read.
func (c *cluster) listed(at scope, versions map[string]string) {
	c.mu.Lock()
	relevant := c.looking
	c.all = c.all || c.looking
	for _, uses := range c.uses {
		for _, one := range uses {
			if at == (scope{one.kind, one.namespace}) && c.note(one, versions[one.name]) {
				relevant = true
			}
		}
	}
	c.mu.Unlock()
	if relevant {
		c.signal()
	}
}

// note is saw without waking anybody, and reports whether that has to be done. The lock is
// held.
func (c *cluster) note(one used, version string) bool {
	isUsed := c.isUsed(one)
	if !isUsed && !c.looking {
		return false
	}
	if known, seen := c.versions[one]; seen && known == version {
		return false
	}
	if isUsed {
		c.versions[one] = version
	}
	if c.changed == nil {
		c.changed = map[used]bool{}
	}
	c.changed[one] = true
	return true
}

// isUsed reports whether a workload uses it, as far as that is known. The lock is held.
func (c *cluster) isUsed(one used) bool {
	for _, uses := range c.uses {
		if slices.Contains(uses, one) {
			return true
		}
	}
	return false
}
