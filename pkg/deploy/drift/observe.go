// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/fleet/watches"
)

// markedSelector selects the objects that Muster has applied.
const markedSelector = deploy.ReasonLabel

// kind is what one watch is for, in one cluster: a resource, whatever its version, and
// who makes the objects.
type kind struct {
	schema.GroupVersionResource
	selector string
	// namespace is set where each is watched by itself.
	namespace string
}

// place is where an object is, or should be.
type place struct {
	kind kind
	types.NamespacedName
}

// place is where an object of a subject is watched.
func (s *subject) place(resource schema.GroupVersionResource, selector string, name types.NamespacedName) place {
	k := kind{GroupVersionResource: resource, selector: selector}
	if s.apart {
		k.namespace = name.Namespace
	}
	return place{k, name}
}

// state is how an object was at one time.
type state struct {
	uid     types.UID
	version string // its resourceVersion
	fields  string
	// gone, ignored and by are known of what was seen, and not of what was applied:
	// there is no such object, it says that it is not to be checked, and the field
	// manager that has written it last.
	gone, ignored bool
	by            string
}

// cluster is what is tracked in one cluster, and what is watched for it.
type cluster struct {
	subjects map[Subject]*subject
	kinds    map[kind]*watched
}

// of returns what is tracked in a cluster. The lock is held.
func (t *Tracker) of(at where) *cluster {
	c := t.clusters[at]
	if c == nil {
		c = &cluster{subjects: map[Subject]*subject{}, kinds: map[kind]*watched{}}
		t.clusters[at] = c
	}
	return c
}

// watched is what one watch has seen.
type watched struct {
	tracker *Tracker
	cluster *cluster
	kind    kind
	key     watches.Key
	stop    func()

	// What follows is guarded by the tracker's lock.
	seen map[types.NamespacedName]state
	// listed is the resourceVersion of the last list, empty before the first one.
	listed string
	err    error
	over   bool
}

// adjust begins the watches that a cluster needs, and ends those that it does not need
// any more. The lock is held.
func (t *Tracker) adjust(at where) {
	c := t.of(at)
	namespaces := map[kind]map[string]bool{}
	for _, s := range c.subjects {
		for place := range s.places {
			if namespaces[place.kind] == nil {
				namespaces[place.kind] = map[string]bool{}
			}
			namespaces[place.kind][place.Namespace] = true
		}
	}
	for k, w := range c.kinds {
		if len(namespaces[k]) == 0 {
			w.end()
			delete(c.kinds, k)
		}
	}
	for k, in := range namespaces {
		t.widen(c, at, k, in)
	}
	if len(c.subjects) == 0 {
		delete(t.clusters, at)
	}
}

// widen makes a watch see all objects of a kind that are tracked: one namespace if they
// are in one, and all namespaces otherwise.
func (t *Tracker) widen(c *cluster, at where, k kind, in map[string]bool) {
	namespace := ""
	if len(in) == 1 {
		for only := range in {
			namespace = only
		}
	}
	key := watches.Key{Cluster: at.ref, As: at.as, Resource: k.GroupVersionResource, Namespace: namespace, Selector: k.selector}
	if w := c.kinds[k]; w != nil {
		if w.key == key || w.key.Namespace == "" {
			return
		}
		w.end()
	}
	w := &watched{tracker: t, cluster: c, kind: k, key: key, seen: map[types.NamespacedName]state{}}
	c.kinds[k] = w
	w.stop = t.options.Watches.Subscribe(key, w)
}

// end ends the watch. What it is told from then on is not heard. The lock is held.
func (w *watched) end() {
	w.over = true
	w.stop()
}

// Listed implements watches.Handler.
func (w *watched) Listed(objects []*metav1.PartialObjectMetadata, resourceVersion string) {
	seen := make(map[types.NamespacedName]state, len(objects))
	for _, o := range objects {
		seen[nameOf(o)] = w.stateOf(o)
	}
	w.tracker.mu.Lock()
	defer w.tracker.mu.Unlock()
	if w.over {
		return
	}
	failed := w.err != nil
	w.seen, w.listed, w.err = seen, resourceVersion, nil
	for name, s := range w.cluster.subjects {
		for at, objects := range s.places {
			if at.kind != w.kind {
				continue
			}
			for _, o := range objects {
				w.tracker.compare(name, w.cluster, o)
			}
		}
		if failed {
			w.tracker.wakes.after(name, 0)
		}
	}
}

// Changed implements watches.Handler.
func (w *watched) Changed(o *metav1.PartialObjectMetadata) { w.see(nameOf(o), w.stateOf(o)) }

// Gone implements watches.Handler.
func (w *watched) Gone(o *metav1.PartialObjectMetadata) {
	s := w.stateOf(o)
	s.gone, s.by = true, "" // who deletes is no field manager
	w.see(nameOf(o), s)
}

// Failed implements watches.Handler.
func (w *watched) Failed(err error) {
	w.tracker.mu.Lock()
	defer w.tracker.mu.Unlock()
	first := w.err == nil
	w.err = err
	if w.over || !first {
		return
	}
	for name := range w.cluster.subjects {
		w.tracker.wakes.after(name, 0)
	}
}

func (w *watched) see(name types.NamespacedName, s state) {
	t := w.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.over {
		return
	}
	w.seen[name] = s
	for subject, tracked := range w.cluster.subjects {
		for _, o := range tracked.places[place{w.kind, name}] {
			t.compare(subject, w.cluster, o)
		}
	}
	if s.gone {
		// What is not there is not seen: compare knows that from listed.
		delete(w.seen, name)
		w.listed = newest(w.listed, s.version)
	}
}

func nameOf(o *metav1.PartialObjectMetadata) types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

func (w *watched) stateOf(o *metav1.PartialObjectMetadata) state {
	manager := deploy.Applied()
	if w.kind.selector == release.ManagedBySelector {
		manager = release.Owner()
	}
	_, ignored := o.Annotations[deploy.DriftIgnoreAnnotation]
	return state{
		uid: o.UID, version: o.ResourceVersion, fields: live.Fields(o, manager), ignored: ignored,
		by: live.LastOther(o, manager),
	}
}

// compare finds out whether an object has drifted, and has its subject woken when it may
// be applied again. The lock is held.
func (t *Tracker) compare(name Subject, c *cluster, o *object) {
	w := c.kinds[o.place.kind]
	if w == nil || w.listed == "" {
		return // nothing was seen yet
	}
	seen, ok := w.seen[o.place.NamespacedName]
	if !ok {
		seen = state{gone: true, version: w.listed}
	}
	if !seen.gone {
		o.left = seen.ignored
	}
	if o.ignored || o.left || older(seen.version, o.applied.version) || !differs(o.applied, seen) {
		o.drifted = false
		return
	}
	o.drifted = true
	o.history.by, o.history.deleted = seen.by, seen.gone
	t.wakes.after(name, o.history.notBefore.Sub(t.options.Clock.Now()))
}

// differs reports whether what is seen is not what was applied.
func differs(applied, seen state) bool {
	switch {
	case seen.gone:
		return true
	case applied.uid != "" && applied.uid != seen.uid:
		return true
	case applied.fields == "" || applied.fields == inventory.NoFields:
		return false // the server does not tell
	}
	return applied.fields != seen.fields
}

// older reports whether a resourceVersion is of an earlier state than another. Those of
// all API servers with a store of etcd's kind are numbers that grow; of others nothing is
// known.
func older(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	return errA == nil && errB == nil && x < y
}

func newest(a, b string) string {
	if older(a, b) {
		return b
	}
	return a
}
