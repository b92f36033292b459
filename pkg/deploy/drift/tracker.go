// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package drift notices what others change in what profiles have deployed.
//
// A Tracker knows how each object was when it was applied: which fields Muster has in
// it, by a hash. It watches the metadata of these objects, one watch for each kind in a
// cluster, and as long as the hash is the same nothing has drifted and nothing is asked.
// What has drifted makes its profile due, whose next pass applies that object alone.
//
// A controller that changes an object back each time is met with pauses that get longer,
// object by object, and is named.
package drift

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/watches"
)

// Subject is whose objects are tracked: those of a ClusterSummary, by its name.
type Subject struct {
	types.NamespacedName
	// OnHost is what the summary has on the host cluster, which is tracked apart from
	// what it has on its own.
	OnHost bool
}

// Target is where the objects of a subject are, and how they are watched there.
type Target struct {
	Cluster fleet.Ref
	// Mapper knows how the cluster serves kinds.
	Mapper meta.RESTMapper
	// As is who watches, Muster where it is zero.
	As fleet.Identity
	// Apart has each namespace watched by itself, because whoever watches may have
	// rights in some of them only.
	Apart bool
}

// where is a cluster as somebody watches it.
type where struct {
	ref fleet.Ref
	as  fleet.Identity
}

func (t Target) where() where { return where{t.Cluster, t.As} }

// Options configure a Tracker. All are required but Clock.
type Options struct {
	Watches interface {
		Subscribe(key watches.Key, handler watches.Handler) (stop func())
	}
	// Due is called when something of a subject has drifted and may be applied again,
	// Wake when something else that Contests or Failure tells has changed. They must
	// neither block nor call the tracker.
	Due  func(Subject)
	Wake func(Subject)
	// Clock is for tests.
	Clock clock.WithTicker
}

// Tracker knows how what was deployed should be, and how it is. It is safe for
// concurrent use.
type Tracker struct {
	options Options
	wakes   *schedule

	mu       sync.Mutex
	subjects map[Subject]*subject
	clusters map[where]*cluster // those with subjects
}

// New returns a Tracker, which watches from the start, and calls Due and Wake when Run
// runs.
func New(options Options) *Tracker {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return &Tracker{
		options: options, wakes: newSchedule(options.Clock),
		subjects: map[Subject]*subject{}, clusters: map[where]*cluster{},
	}
}

// subject is what is tracked of one profile on one cluster.
type subject struct {
	cluster  where
	apart    bool
	objects  map[inventory.ObjectKey]*object
	places   map[place][]*object
	releases map[inventory.ReleaseKey]bool // whose objects are known
	// unknown says why not every kind can be watched, and retry when to look again.
	unknown error
	retry   time.Time
}

// object is one that should be as it was applied.
type object struct {
	key     inventory.ObjectKey
	feature deploy.Feature
	release *inventory.ReleaseKey // nil if it is not a release's
	place   place
	applied state
	// ignored is what its manifest says of checking it, left what itself said last.
	ignored, left bool
	// untouched says that a pass has found it as its manifest says, although a field
	// that the manifest does not have was given another value.
	untouched bool

	drifted bool
	history history
}

// unknownRetry is the pause before a kind that the cluster did not serve is looked for
// again.
const unknownRetry = time.Minute

// Run wakes until ctx ends.
func (t *Tracker) Run(ctx context.Context) error {
	t.wakes.run(ctx, func(name Subject) {
		if t.isDue(name) {
			t.options.Due(name)
		} else {
			t.options.Wake(name)
		}
	})
	return nil
}

// isDue reports whether something of a subject may be applied again by now, and has it
// woken when the next thing may be.
func (t *Tracker) isDue(name Subject) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.subjects[name]
	if s == nil {
		return false
	}
	now, due := t.options.Clock.Now(), false
	if s.unknown != nil {
		if due = !s.retry.After(now); !due {
			t.wakes.after(name, s.retry.Sub(now))
		}
	}
	for _, o := range s.objects {
		switch {
		case o.drifted && !o.history.notBefore.After(now):
			due = true
		case o.drifted:
			t.wakes.after(name, o.history.notBefore.Sub(now))
		case o.history.repairs >= contested && o.history.calmAt().After(now):
			t.wakes.after(name, o.history.calmAt().Sub(now))
		}
	}
	return due
}

// Watch is what the next pass of a subject has to know: what has drifted and may be
// applied again by now. It is to be asked when the pass begins.
func (t *Tracker) Watch(name Subject) deploy.Watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := deploy.Watch{
		On: true, Objects: map[inventory.ObjectKey]bool{},
		Releases: map[inventory.ReleaseKey]map[inventory.ObjectKey]bool{},
	}
	s := t.subjects[name]
	if s == nil {
		return out
	}
	for key := range s.releases {
		out.Releases[key] = map[inventory.ObjectKey]bool{}
	}
	now := t.options.Clock.Now()
	for key, o := range s.objects {
		switch {
		case !o.drifted || o.history.notBefore.After(now):
		case o.release == nil:
			out.Objects[key] = true
		case s.releases[*o.release]:
			out.Releases[*o.release][key] = true
		}
	}
	return out
}

// Repaired is an object that had drifted and was applied again.
type Repaired struct {
	Object inventory.ObjectKey
	// Feature is the list of the profile that it is from.
	Feature deploy.Feature
	// By is the field manager that had changed it last, empty if that is not known.
	By string
	// Deleted says that it was not there.
	Deleted bool
}

// Track notes what a pass has left: its record and, of the releases that it has looked
// at, the objects. watch is what the pass was told. It returns what the pass has made
// good.
func (t *Tracker) Track(name Subject, target Target, record *inventory.Record, watched map[inventory.ReleaseKey][]release.ObjectState, watch deploy.Watch) []Repaired {
	resources, unknown := resolve(target.Mapper, record, watched)
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.subjects[name]
	if before == nil || before.cluster != target.where() {
		t.drop(name)
		before = &subject{}
	}
	now := &subject{
		cluster: target.where(), apart: target.Apart, objects: map[inventory.ObjectKey]*object{}, places: map[place][]*object{},
		releases: map[inventory.ReleaseKey]bool{}, unknown: unknown,
	}
	trackObjects(now, before, record, resources)
	trackReleases(now, before, record, watched, watch, resources)
	for _, o := range now.objects {
		now.places[o.place] = append(now.places[o.place], o)
	}
	if unknown != nil {
		now.retry = t.options.Clock.Now().Add(unknownRetry)
		t.wakes.after(name, unknownRetry)
	}
	t.subjects[name] = now
	t.of(now.cluster).subjects[name] = now
	t.adjust(now.cluster)
	return t.settle(name, now, before, watch)
}

// resolve finds the resource of each kind that is to be watched. Of a kind that the
// cluster does not serve nothing is.
func resolve(mapper meta.RESTMapper, record *inventory.Record, watched map[inventory.ReleaseKey][]release.ObjectState) (map[schema.GroupKind]schema.GroupVersionResource, error) {
	resources := map[schema.GroupKind]schema.GroupVersionResource{}
	var failed error
	look := func(group, kind string) {
		gk := schema.GroupKind{Group: group, Kind: kind}
		if _, known := resources[gk]; known {
			return
		}
		mapping, err := mapper.RESTMapping(gk)
		if err != nil {
			failed = cmp.Or(failed, err)
			return
		}
		resources[gk] = mapping.Resource
	}
	for _, o := range record.Objects {
		look(o.Group, o.Kind)
	}
	for _, states := range watched {
		for _, o := range states {
			look(o.Group, o.Kind)
		}
	}
	return resources, failed
}

func trackObjects(now, before *subject, record *inventory.Record, resources map[schema.GroupKind]schema.GroupVersionResource) {
	for _, entry := range record.Objects {
		resource, ok := resources[schema.GroupKind{Group: entry.Group, Kind: entry.Kind}]
		if !ok || entry.ContentHash == "" || entry.TakenFrom != nil {
			continue // in doubt: the next pass applies it whatever it is like
		}
		o := &object{
			key: entry.ObjectKey, feature: deploy.Feature(entry.Feature), ignored: entry.IgnoreDrift,
			place:   now.place(resource, markedSelector, types.NamespacedName{Namespace: entry.Namespace, Name: entry.Name}),
			applied: state{uid: entry.UID, version: entry.ResourceVersion, fields: entry.Fields},
		}
		if known := before.objects[entry.ObjectKey]; known != nil {
			o.history, o.left = known.history, known.left
		}
		now.objects[entry.ObjectKey] = o
	}
}

// trackReleases notes the objects of releases. Those of a release that the pass had to
// look at and could not are forgotten, so that the next one looks at all of them.
func trackReleases(now, before *subject, record *inventory.Record, watched map[inventory.ReleaseKey][]release.ObjectState, watch deploy.Watch, resources map[schema.GroupKind]schema.GroupVersionResource) {
	for _, entry := range record.Releases {
		key := entry.ReleaseKey
		states, looked := watched[key]
		drifted, known := watch.Releases[key]
		if !looked && (!known || len(drifted) > 0 || entry.ContentHash == "") {
			continue
		}
		now.releases[key] = true
		if known && partial(states, drifted) {
			for _, o := range before.objects {
				if o.release != nil && *o.release == key && !drifted[o.key] {
					now.objects[o.key] = o
				}
			}
		}
		for _, found := range states {
			if resource, ok := resources[schema.GroupKind{Group: found.Group, Kind: found.Kind}]; ok {
				o := now.ofRelease(key, found, resource)
				if was := before.objects[o.key]; was != nil {
					o.history = was.history
				}
				now.objects[o.key] = o
			}
		}
	}
}

// partial reports whether a pass has looked only at what had drifted in a release. What
// had drifted and is not there any more is not the release's any more.
func partial(states []release.ObjectState, drifted map[inventory.ObjectKey]bool) bool {
	if len(states) > 0 && len(drifted) == 0 {
		return false
	}
	return !slices.ContainsFunc(states, func(o release.ObjectState) bool { return !drifted[deploy.ObjectKeyOf(o.ObjectKey)] })
}

func (s *subject) ofRelease(key inventory.ReleaseKey, found release.ObjectState, resource schema.GroupVersionResource) *object {
	return &object{
		key: deploy.ObjectKeyOf(found.ObjectKey), feature: deploy.Helm, release: &key,
		ignored: found.Ignored && found.UID == "", left: found.Ignored, untouched: !found.Changed,
		place:   s.place(resource, release.ManagedBySelector, types.NamespacedName{Namespace: found.Namespace, Name: found.Name}),
		applied: state{uid: found.UID, version: found.ResourceVersion, fields: found.Fields},
	}
}

// settle compares what is tracked with what was seen meanwhile.
func (t *Tracker) settle(name Subject, now, before *subject, watch deploy.Watch) []Repaired {
	var repaired []Repaired
	at := t.options.Clock.Now()
	for key, o := range now.objects {
		// Not whether it has drifted now: the watch may have seen the repair already.
		asked := watch.Objects[key] || o.release != nil && watch.Releases[*o.release][key]
		if asked && before.objects[key] != nil {
			o.history.repaired(at)
		}
		if asked && before.objects[key] != nil && !o.untouched {
			repaired = append(repaired, Repaired{Object: key, Feature: o.feature, By: o.history.by, Deleted: o.history.deleted})
		}
		o.drifted = false
		t.compare(name, t.clusters[now.cluster], o)
	}
	slices.SortFunc(repaired, func(a, b Repaired) int { return cmp.Compare(a.Object.String(), b.Object.String()) })
	return repaired
}

// Forget ends the tracking of a subject.
func (t *Tracker) Forget(name Subject) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(name)
}

// drop forgets a subject. The lock is held.
func (t *Tracker) drop(name Subject) {
	s := t.subjects[name]
	if s == nil {
		return
	}
	delete(t.subjects, name)
	delete(t.of(s.cluster).subjects, name)
	t.adjust(s.cluster)
}
