// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/watches"
)

var (
	one = fleet.Ref{Kind: "SveltosCluster", Namespace: "civo", Name: "cluster1"}
	eng = fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
)

// wanted are the watches that somebody wants, with the number of those who do.
type wanted struct {
	mu   sync.Mutex
	keys map[watches.Key]int
}

func (w *wanted) Subscribe(key watches.Key, _ watches.Handler) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[key]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.keys[key]--; w.keys[key] == 0 {
			delete(w.keys, key)
		}
	}
}

// namespaces are where both ConfigMaps and Secrets are watched.
func (w *wanted) namespaces() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := map[string]int{}
	for key := range w.keys {
		count[key.Namespace]++
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n != 2 })
	return slices.Sorted(maps.Keys(count))
}

func in(namespaces ...string) Targets {
	var targets Targets
	for _, namespace := range namespaces {
		targets.Workloads = append(targets.Workloads, Workload{"Deployment", namespace, "web"})
	}
	return targets
}

func TestSet(t *testing.T) {
	a, b := inventory.OwnerKey{Kind: "ClusterProfile", Name: "a"}, inventory.OwnerKey{Kind: "ClusterProfile", Name: "b"}
	w := &wanted{keys: map[watches.Key]int{}}
	r := New(func(context.Context, fleet.Ref, fleet.Identity) (*fleet.Client, error) {
		return nil, errors.New("away")
	}, w, func(context.Context, fleet.Ref, []inventory.OwnerKey, error) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for i, step := range []struct {
		owner   inventory.OwnerKey
		as      fleet.Identity
		targets Targets
		want    []string // the namespaces that are watched
		by      []fleet.Identity
	}{
		{a, fleet.Identity{}, Targets{}, nil, nil},
		{a, fleet.Identity{}, in("n"), []string{"n"}, []fleet.Identity{{}}},
		{b, fleet.Identity{}, in("n"), []string{"n"}, []fleet.Identity{{}}},
		{b, fleet.Identity{}, in("n", "m"), []string{"m", "n"}, []fleet.Identity{{}}},
		{a, fleet.Identity{}, Targets{}, []string{"m", "n"}, []fleet.Identity{{}}},
		{a, eng, in("o"), []string{"m", "n", "o"}, []fleet.Identity{{}, eng}},
		{b, eng, in("m"), []string{"m", "o"}, []fleet.Identity{eng}}, // it is a tenant's from now on
		{b, fleet.Identity{}, Targets{}, []string{"o"}, []fleet.Identity{eng}},
		{a, fleet.Identity{}, Targets{}, nil, nil},
	} {
		r.Set(one, step.as, step.owner, step.targets)
		if got := w.namespaces(); !slices.Equal(got, step.want) {
			t.Errorf("step %d: %q are watched, want %q", i, got, step.want)
		}
		for _, as := range []fleet.Identity{{}, eng} {
			if got := r.Follows(one, as); got != slices.Contains(step.by, as) {
				t.Errorf("step %d: followed as %q: %t", i, as.UserName(), got)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("it runs twice")
	}
}

// Nothing is read or restarted as somebody else than the profile is deployed as.
func TestEachActsAsItself(t *testing.T) {
	asked, told := make(chan fleet.Identity, 10), make(chan string, 10)
	r := New(func(_ context.Context, _ fleet.Ref, as fleet.Identity) (*fleet.Client, error) {
		asked <- as
		return nil, errors.New("no right")
	}, &wanted{keys: map[watches.Key]int{}}, func(_ context.Context, _ fleet.Ref, owners []inventory.OwnerKey, err error) {
		told <- fmt.Sprint(owners, err)
	})
	r.Set(one, eng, inventory.OwnerKey{Name: "a"}, in("n"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if as := <-asked; as != eng {
		t.Errorf("what a tenant has is looked at as %q", as.UserName())
	}
	if got := <-told; got != "[ a] no right" {
		t.Errorf("told is %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// following is a cluster of which it is known what web uses.
func following(uses ...used) *cluster {
	c := newCluster(place{ref: one}, nil, nil)
	c.uses = map[Workload][]used{{"Deployment", "n", "web"}: uses, {"Deployment", "n", "else"}: nil}
	return c
}

func TestOnlyWhatIsUsedMatters(t *testing.T) {
	web := Workload{"Deployment", "n", "web"}
	settings, other := used{"ConfigMap", "n", "settings"}, used{"ConfigMap", "n", "other"}
	c := following(settings)
	c.saw(other, "1")
	if len(c.wake) != 0 {
		t.Error("something that nobody uses wakes it")
	}
	c.saw(settings, "2")
	all, changed := c.take()
	if len(c.wake) != 1 || all || !changed[settings] || len(changed) != 1 {
		t.Errorf("all %t, changed %v", all, changed)
	}
	if got := c.users(changed); !slices.Equal(got, []Workload{web}) {
		t.Errorf("%v use it", got)
	}
	if all, changed := c.take(); all || len(changed) > 0 {
		t.Error("it is looked at twice")
	}
	c.look()
	if all, _ := c.take(); !all {
		t.Error("not everything is looked at")
	}
	c.keep([]Workload{{"Deployment", "n", "else"}})
	if len(c.users(map[used]bool{settings: true})) != 0 || len(c.versions) != 0 {
		t.Error("what is gone is remembered")
	}
}

// A list tells what has changed while nothing was seen, and nothing else.
func TestAListTellsWhatHasChanged(t *testing.T) {
	settings, gone, secret := used{"ConfigMap", "n", "settings"}, used{"ConfigMap", "n", "gone"}, used{"Secret", "n", "settings"}
	c := following(settings, gone, secret)
	w := &watcher{c, scope{"ConfigMap", "n"}}
	list := func(versions map[string]string) []used {
		var objects []*metav1.PartialObjectMetadata
		for name, version := range versions {
			objects = append(objects, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, ResourceVersion: version}})
		}
		w.Listed(objects, "9")
		_, changed := c.take()
		return slices.SortedFunc(maps.Keys(changed), func(a, b used) int { return len(b.name) - len(a.name) })
	}
	for i, step := range []struct {
		versions map[string]string
		want     []used
	}{
		{map[string]string{"settings": "1", "other": "1"}, []used{settings, gone}}, // who knows since when
		{map[string]string{"settings": "1", "other": "2"}, nil},
		{map[string]string{"settings": "2"}, []used{settings}},
		{map[string]string{}, []used{settings}},
		{map[string]string{"gone": "5"}, []used{gone}},
	} {
		if got := list(step.versions); !slices.Equal(got, step.want) {
			t.Errorf("step %d: %v have changed, want %v", i, got, step.want)
		}
	}
	w.Gone(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "gone"}})
	if _, changed := c.take(); !changed[gone] {
		t.Error("what is deleted has not changed")
	}
}

// What a workload uses is known when it was read, and may change before that.
func TestAChangeWhileWorkloadsAreLookedAt(t *testing.T) {
	settings := used{"ConfigMap", "n", "settings"}
	c := following()
	c.setLooking(true)
	c.saw(settings, "2")
	c.setLooking(false)
	if _, changed := c.take(); !changed[settings] {
		t.Error("it is missed")
	}
	c.setLooking(true)
	c.listed(scope{"ConfigMap", "n"}, nil)
	c.setLooking(false)
	if all, _ := c.take(); !all {
		t.Error("a list is missed")
	}
}
