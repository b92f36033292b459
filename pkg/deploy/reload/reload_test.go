// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

func TestSet(t *testing.T) {
	ref := fleet.Ref{Kind: "SveltosCluster", Namespace: "civo", Name: "cluster1"}
	a, b := inventory.OwnerKey{Kind: "ClusterProfile", Name: "a"}, inventory.OwnerKey{Kind: "ClusterProfile", Name: "b"}
	in := func(namespaces ...string) Targets {
		var targets Targets
		for _, namespace := range namespaces {
			targets.Workloads = append(targets.Workloads, Workload{"Deployment", namespace, "web"})
		}
		return targets
	}
	r := New(func(context.Context, fleet.Ref) (*fleet.Client, error) { return nil, errors.New("away") })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for i, step := range []struct {
		owner   inventory.OwnerKey
		targets Targets
		want    []string // the namespaces that are followed
		same    bool     // by those who followed before
	}{
		{a, Targets{}, nil, false},
		{a, in("n"), []string{"n"}, false},
		{b, in("n"), []string{"n"}, true},
		{b, in("n", "m"), []string{"m", "n"}, false},
		{a, Targets{}, []string{"m", "n"}, true},
		{b, Targets{}, nil, false},
	} {
		r.mu.Lock()
		before := r.clusters[ref]
		r.mu.Unlock()
		r.Set(ref, step.owner, step.targets)
		r.mu.Lock()
		after := r.clusters[ref]
		r.mu.Unlock()
		var got []string
		if after != nil {
			got = after.namespaces()
		}
		if !slices.Equal(got, step.want) || after != nil && (before == after) != step.same {
			t.Errorf("step %d: %q are followed, by the same: %t", i, got, before == after)
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

func TestOnlyWhatIsUsedMatters(t *testing.T) {
	web := Workload{"Deployment", "n", "web"}
	settings, other := used{"ConfigMap", "n", "settings"}, used{"ConfigMap", "n", "other"}
	c := &cluster{wake: make(chan struct{}, 1), uses: map[Workload][]used{web: {settings}, {"Deployment", "n", "else"}: nil}}
	c.saw(other)
	if len(c.wake) != 0 {
		t.Error("something that nobody uses wakes it")
	}
	c.saw(settings)
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
	if len(c.users(map[used]bool{settings: true})) != 0 {
		t.Error("what is gone is remembered")
	}
}
