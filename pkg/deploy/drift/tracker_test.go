// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/watches"
)

var (
	one   = fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "civo", Name: "one"}
	web   = Subject{NamespacedName: types.NamespacedName{Namespace: "civo", Name: "web-sveltos-one"}}
	later = Subject{NamespacedName: types.NamespacedName{Namespace: "civo", Name: "other-sveltos-one"}}
)

// bench is a tracker on watches that a test tells what they see.
type bench struct {
	t       *testing.T
	tracker *Tracker
	clock   *testingclock.FakeClock

	mu       sync.Mutex
	handlers map[watches.Key]watches.Handler
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, clock: testingclock.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), handlers: map[watches.Key]watches.Handler{}}
	b.tracker = New(Options{Watches: b, Due: func(Subject) {}, Wake: func(Subject) {}, Clock: b.clock})
	return b
}

func (b *bench) Subscribe(key watches.Key, handler watches.Handler) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handlers[key] = handler
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.handlers, key)
	}
}

// watched are the resources, namespaces and selectors that are watched.
func (b *bench) watched() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for key := range b.handlers {
		out = append(out, fmt.Sprintf("%s/%s %s", key.Namespace, key.Resource.Resource, key.Selector))
	}
	slices.Sort(out)
	return out
}

// handler is the one of a resource.
func (b *bench) handler(resource string) watches.Handler {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, handler := range b.handlers {
		if key.Resource.Resource == resource {
			return handler
		}
	}
	b.t.Fatalf("%s are not watched", resource)
	return nil
}

// track is a pass that leaves these objects, and was told what has drifted before.
func (b *bench) track(objects ...inventory.Object) []Repaired {
	b.t.Helper()
	watch := b.tracker.Watch(web)
	return b.tracker.Track(web, Target{Cluster: one, Mapper: mapper()}, &inventory.Record{Objects: objects}, nil, watch)
}

// drifted are the names of what may be repaired now.
func (b *bench) drifted() []string {
	watch := b.tracker.Watch(web)
	var out []string
	for key := range watch.Objects {
		out = append(out, key.Name)
	}
	for release, keys := range watch.Releases {
		for key := range keys {
			out = append(out, release.Name+":"+key.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (b *bench) wantDrifted(what string, names ...string) {
	b.t.Helper()
	if diff := cmp.Diff(names, b.drifted()); diff != "" {
		b.t.Errorf("%s: drifted (-want +got):\n%s", what, diff)
	}
}

func TestWhatOthersChangeHasDrifted(t *testing.T) {
	tests := map[string]struct {
		happens func(watches.Handler)
		want    []string
	}{
		"nothing":                {func(watches.Handler) {}, nil},
		"somebody adds a field":  {func(h watches.Handler) { h.Changed(seen("apps", "a", "u", 11, whole, "kubectl")) }, nil},
		"somebody takes a field": {func(h watches.Handler) { h.Changed(seen("apps", "a", "u", 11, taken, "kubectl")) }, []string{"a"}},
		"it is deleted":          {func(h watches.Handler) { h.Gone(seen("apps", "a", "u", 11, whole, "")) }, []string{"a"}},
		"it is made anew":        {func(h watches.Handler) { h.Changed(seen("apps", "a", "v", 11, whole, "")) }, []string{"a"}},
		"it is put back": {func(h watches.Handler) {
			h.Changed(seen("apps", "a", "u", 11, taken, ""))
			h.Changed(seen("apps", "a", "u", 12, whole, ""))
		}, nil},
		"another one is deleted":  {func(h watches.Handler) { h.Gone(seen("apps", "b", "u", 11, whole, "")) }, nil},
		"it is not there anymore": {func(h watches.Handler) { h.Listed(nil, "20") }, []string{"a"}},
		"it was different in a list": {func(h watches.Handler) {
			h.Listed([]*metav1.PartialObjectMetadata{seen("apps", "a", "u", 15, taken, "")}, "20")
		}, []string{"a"}},
		"a late event of what was before": {func(h watches.Handler) { h.Changed(seen("apps", "a", "u", 9, taken, "")) }, nil},
		"a late end of what was before":   {func(h watches.Handler) { h.Gone(seen("apps", "a", "t", 9, taken, "")) }, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.track(applied("apps", "a", "u", 10))
			b.wantDrifted("before anything was seen")
			h := b.handler("configmaps")
			h.Listed([]*metav1.PartialObjectMetadata{seen("apps", "a", "u", 10, whole, "")}, "10")
			b.wantDrifted("after the first list")
			tc.happens(h)
			b.wantDrifted("then", tc.want...)
		})
	}
}

func TestIgnoredObjectsAreLeftAlone(t *testing.T) {
	b := newBench(t)
	asked := applied("apps", "asked", "u", 10)
	asked.IgnoreDrift = true
	b.track(asked, applied("apps", "marked", "v", 10))
	h := b.handler("configmaps")
	marked := seen("apps", "marked", "v", 11, taken, "somebody")
	marked.Annotations = map[string]string{deploy.DriftIgnoreAnnotation: ""}
	h.Listed([]*metav1.PartialObjectMetadata{seen("apps", "asked", "u", 11, taken, ""), marked}, "12")
	b.wantDrifted("while they are marked")
	h.Gone(marked)
	b.wantDrifted("one that was marked is deleted")
	h.Changed(seen("apps", "marked", "v", 13, taken, "somebody"))
	b.wantDrifted("the mark is gone", "marked")
}

func TestARepairIsToldAndEndsTheDrift(t *testing.T) {
	b := newBench(t)
	b.track(applied("apps", "a", "u", 10))
	h := b.handler("configmaps")
	h.Listed([]*metav1.PartialObjectMetadata{seen("apps", "a", "u", 11, taken, "kubectl-edit")}, "11")
	b.wantDrifted("after an edit", "a")

	repaired := b.track(applied("apps", "a", "u", 12))
	want := []Repaired{{Object: key("apps", "a"), Feature: deploy.Resources, By: "kubectl-edit"}}
	if diff := cmp.Diff(want, repaired); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	b.wantDrifted("what the watch saw is older than the repair")
	h.Changed(seen("apps", "a", "u", 12, whole, ""))
	b.wantDrifted("the watch has caught up")
	if repaired := b.track(applied("apps", "a", "u", 12)); len(repaired) > 0 {
		t.Errorf("repaired again: %v", repaired)
	}
}

// A controller that changes an object back each time costs less and less.
func TestAContestIsFoughtAtGrowingIntervals(t *testing.T) {
	b := newBench(t)
	version := 10
	b.track(applied("apps", "a", "u", version), applied("apps", "b", "v", version))
	h := b.handler("configmaps")
	h.Listed([]*metav1.PartialObjectMetadata{seen("apps", "a", "u", 10, whole, ""), seen("apps", "b", "v", 10, whole, "")}, "10")
	start := b.clock.Now()
	repairs := 0
	for b.clock.Since(start) < time.Hour {
		version += 2
		h.Changed(seen("apps", "a", "u", version-1, taken, "hot-controller"))
		if len(b.drifted()) > 0 {
			repairs += len(b.track(applied("apps", "a", "u", version), applied("apps", "b", "v", 10)))
		}
		b.clock.Step(500 * time.Millisecond)
	}
	if repairs < 10 || repairs > 25 {
		t.Errorf("%d repairs in an hour", repairs)
	}
	contests := b.tracker.Contests(web)
	if len(contests) != 1 || contests[0].Object != key("apps", "a") || contests[0].By != "hot-controller" || contests[0].Repairs < contested {
		t.Errorf("contests %+v", contests)
	}
	// Another object of the same profile waits for nothing.
	h.Changed(seen("apps", "b", "v", version+100, taken, ""))
	b.wantDrifted("beside a contest", "b")

	// It is over when nothing happens for long.
	h.Changed(seen("apps", "a", "u", version+1, whole, ""))
	b.clock.Step(lastPause + calm + time.Second)
	if contests := b.tracker.Contests(web); len(contests) != 0 {
		t.Errorf("after a long time: %+v", contests)
	}
}

func TestWatchesAreAsNarrowAsTheyCanBe(t *testing.T) {
	b := newBench(t)
	want := func(what string, names ...string) {
		t.Helper()
		if diff := cmp.Diff(names, b.watched()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	b.track(applied("apps", "a", "u", 10))
	want("one namespace", "apps/configmaps "+deploy.ReasonLabel)
	b.track(applied("apps", "a", "u", 10), applied("web", "a", "v", 10))
	want("two namespaces", "/configmaps "+deploy.ReasonLabel)
	secret := applied("apps", "s", "w", 10)
	secret.Kind = "Secret"
	b.tracker.Track(later, Target{Cluster: one, Mapper: mapper()}, &inventory.Record{Objects: []inventory.Object{secret}}, nil, deploy.Watch{})
	want("two profiles", "/configmaps "+deploy.ReasonLabel, "apps/secrets "+deploy.ReasonLabel)
	b.tracker.Forget(web)
	want("one went", "apps/secrets "+deploy.ReasonLabel)
	b.tracker.Forget(later)
	want("both went")
	if len(b.tracker.clusters) != 0 {
		t.Errorf("clusters that nobody tracks anything in: %v", b.tracker.clusters)
	}
}

func TestWhatIsInDoubtOrTakenOverIsNotTracked(t *testing.T) {
	b := newBench(t)
	doubt, going := applied("apps", "doubt", "u", 10), applied("apps", "going", "v", 10)
	doubt.ContentHash, going.TakenFrom = "", &inventory.OwnerKey{Kind: "ClusterProfile", Name: "x"}
	b.track(doubt, going, applied("apps", "a", "w", 10))
	b.handler("configmaps").Listed(nil, "20")
	b.wantDrifted("all are gone", "a")
}

func TestObjectsOfReleases(t *testing.T) {
	b := newBench(t)
	entry := inventory.Release{ReleaseKey: inventory.ReleaseKey{Namespace: "apps", Name: "chart"}, ContentHash: "h"}
	record := &inventory.Record{Releases: []inventory.Release{entry}}
	object := func(name string, version int, fields string) (release.ObjectState, *metav1.PartialObjectMetadata) {
		o := seen("apps", name, types.UID(name), version, `{}`, "")
		o.ManagedFields[0].Manager, o.ManagedFields[0].Operation = release.Owner().Name, release.Owner().Operation
		o.ManagedFields[0].FieldsV1.SetRawBytes([]byte(fields))
		return release.ObjectState{
			ObjectKey: release.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: name},
			UID:       o.UID, ResourceVersion: o.ResourceVersion, Fields: live.Fields(o, release.Owner()),
		}, o
	}
	track := func(states ...release.ObjectState) []Repaired {
		var watched map[inventory.ReleaseKey][]release.ObjectState
		if states != nil {
			watched = map[inventory.ReleaseKey][]release.ObjectState{entry.ReleaseKey: states}
		}
		return b.tracker.Track(web, Target{Cluster: one, Mapper: mapper()}, record, watched, b.tracker.Watch(web))
	}
	stateA, a := object("a", 10, whole)
	stateB, other := object("b", 10, whole)
	track(stateA, stateB)
	h := b.handler("configmaps")
	h.Listed([]*metav1.PartialObjectMetadata{a, other}, "10")
	if diff := cmp.Diff([]string{"apps/configmaps " + release.ManagedBySelector}, b.watched()); diff != "" {
		t.Errorf("watched (-want +got):\n%s", diff)
	}
	if known := b.tracker.Watch(web).Releases; len(known) != 1 {
		t.Errorf("releases whose objects are known: %v", known)
	}
	_, changed := object("a", 11, taken)
	h.Changed(changed)
	b.wantDrifted("after a change", "chart:a")

	// The pass looks at that object alone, and the other one stays known.
	stateA, a = object("a", 12, whole)
	stateA.Changed = true
	if repaired := track(stateA); len(repaired) != 1 || repaired[0].Feature != deploy.Helm {
		t.Errorf("repaired %v", repaired)
	}
	h.Changed(a)
	b.wantDrifted("repaired")
	// A default that somebody has changed is no drift of the manifest's.
	stateA, changed = object("a", 13, taken)
	h.Changed(changed)
	b.wantDrifted("after a change of a default", "chart:a")
	if repaired := track(stateA); len(repaired) != 0 {
		t.Errorf("repaired %v", repaired)
	}
	b.wantDrifted("nothing was to be done")
	h.Gone(other)
	b.wantDrifted("the other one is deleted", "chart:b")
	track() // and the pass could not look at it
	if known := b.tracker.Watch(web).Releases; len(known) != 0 {
		t.Errorf("a release that could not be looked at is known: %v", known)
	}
}

func TestFailuresAreToldAndEnd(t *testing.T) {
	b := newBench(t)
	b.track(applied("apps", "a", "u", 10))
	if err := b.tracker.Failure(web); err != nil {
		t.Errorf("before anything failed: %v", err)
	}
	h := b.handler("configmaps")
	forbidden := errors.New("forbidden")
	h.Failed(forbidden)
	if err := b.tracker.Failure(web); !errors.Is(err, forbidden) {
		t.Errorf("failure %v", err)
	}
	h.Listed([]*metav1.PartialObjectMetadata{seen("apps", "a", "u", 10, whole, "")}, "10")
	if err := b.tracker.Failure(web); err != nil {
		t.Errorf("after a list: %v", err)
	}
	unserved := applied("apps", "w", "x", 10)
	unserved.Kind = "Widget"
	b.track(unserved)
	if err := b.tracker.Failure(web); !meta.IsNoMatchError(err) {
		t.Errorf("a kind that is not served: %v", err)
	}
	if b.tracker.isDue(web) {
		t.Error("it is looked for again at once")
	}
	b.clock.Step(unknownRetry + time.Second)
	if !b.tracker.isDue(web) {
		t.Error("it is not looked for again")
	}
}

func TestRunMakesDueWhatHasDrifted(t *testing.T) {
	due := make(chan Subject, 10)
	b := newBench(t)
	b.tracker = New(Options{Watches: b, Due: func(s Subject) { due <- s }, Wake: func(Subject) {}})
	ended := make(chan error, 1)
	go func() { ended <- b.tracker.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	b.track(applied("apps", "a", "u", 10))
	b.handler("configmaps").Listed([]*metav1.PartialObjectMetadata{seen("apps", "a", "u", 11, taken, "")}, "11")
	select {
	case got := <-due:
		if got != web {
			t.Errorf("due is %v", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing became due")
	}
}
