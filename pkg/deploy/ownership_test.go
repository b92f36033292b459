// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func entry(name, from string) inventory.Object {
	o := inventory.Object{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: name}, ContentHash: "h"}
	if from != "" {
		key := owner(from, 0).Key()
		o.TakenFrom = &key
	}
	return o
}

func recordOf(name string, entries ...inventory.Object) *inventory.Record {
	return &inventory.Record{Owner: owner(name, 100), Objects: entries}
}

func describe(records []*inventory.Record) []string {
	var out []string
	for _, r := range records {
		text := r.Owner.Name + ":"
		for _, o := range r.Objects {
			text += " " + o.Name
			if o.TakenFrom != nil {
				text += "<" + o.TakenFrom.Name
			}
		}
		out = append(out, text)
	}
	return out
}

func TestSettle(t *testing.T) {
	tests := map[string]struct {
		records []*inventory.Record
		want    []string // in memory
		writes  []string // in order
	}{
		"nothing to do": {
			[]*inventory.Record{recordOf("a", entry("x", "")), recordOf("b", entry("y", ""))},
			[]string{"a: x", "b: y"}, nil,
		},
		"cut short before the loser was written": {
			[]*inventory.Record{recordOf("a", entry("x", "b")), recordOf("b", entry("x", ""), entry("y", ""))},
			[]string{"a: x", "b: y"}, []string{"b: y", "a: x"},
		},
		"cut short after the loser was written": {
			[]*inventory.Record{recordOf("a", entry("x", "b")), recordOf("b")},
			[]string{"a: x", "b:"}, []string{"a: x"},
		},
		"from a loser that is gone": {
			[]*inventory.Record{recordOf("a", entry("x", "gone"))},
			[]string{"a: x"}, []string{"a: x"},
		},
		"a loser that is a winner too keeps its mark until its own loser is written": {
			[]*inventory.Record{recordOf("a", entry("x", "b")), recordOf("b", entry("x", ""), entry("y", "c")), recordOf("c", entry("y", ""))},
			[]string{"a: x", "b: y", "c:"}, []string{"b: y<c", "c:", "a: x", "b: y"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			writes := settle(tc.records)
			if diff := cmp.Diff(tc.writes, describe(writes)); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, describe(tc.records)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettleReleases(t *testing.T) {
	from := owner("b", 0).Key()
	key := inventory.ReleaseKey{Namespace: "apps", Name: "nginx"}
	winner := &inventory.Record{Owner: owner("a", 1), Releases: []inventory.Release{{ReleaseKey: key, TakenFrom: &from}}}
	loser := &inventory.Record{Owner: owner("b", 2), Releases: []inventory.Release{{ReleaseKey: key}}}
	writes := settle([]*inventory.Record{winner, loser})
	if len(writes) != 2 || writes[0].Owner != loser.Owner || len(loser.Releases) > 0 || winner.Releases[0].TakenFrom != nil {
		t.Errorf("writes %d, loser %v, winner %v", len(writes), loser.Releases, winner.Releases)
	}
}

func TestHeirIsTheLowestTier(t *testing.T) {
	records := []*inventory.Record{
		{Owner: owner("self", 1)}, {Owner: owner("late", 50)}, {Owner: owner("high", 100)}, {Owner: owner("early", 50)}, {Owner: owner("indifferent", 2)},
	}
	wants := func(r *inventory.Record) bool { return r.Owner.Name != "indifferent" }
	if got := heir(records, owner("self", 1).Key(), wants); got.Owner.Name != "early" {
		t.Errorf("heir %s", got.Owner)
	}
	if got := heir(records, owner("self", 1).Key(), func(*inventory.Record) bool { return false }); got != nil {
		t.Errorf("heir %s where nobody wants it", got.Owner)
	}
}

func TestRemovalOrder(t *testing.T) {
	object := func(group, kind, name string) inventory.Object {
		return inventory.Object{ObjectKey: inventory.ObjectKey{Group: group, Kind: kind, Name: name}}
	}
	order := removalOrder(
		[]inventory.Object{object("", "Namespace", "n1"), object(crdGroup, crdKind, "c"), object("", "Namespace", "n2"), object("apps", "Deployment", "d"), object("", "Service", "s")},
		[]inventory.Release{{ReleaseKey: inventory.ReleaseKey{Name: "r1"}}, {ReleaseKey: inventory.ReleaseKey{Name: "r2"}}}, nil,
	)
	var got []string
	for _, r := range order {
		if r.object != nil {
			got = append(got, r.object.Name)
		} else {
			got = append(got, r.release.Name)
		}
	}
	if diff := cmp.Diff([]string{"s", "d", "r2", "r1", "c", "n2", "n1"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestMakePlanChangesNothingThatItIsGiven(t *testing.T) {
	own := recordOf("web", entry("mine", ""), entry("stale", ""))
	other := &inventory.Record{Owner: owner("other", 200), Objects: []inventory.Object{entry("theirs", "")}}
	before := fmt.Sprintf("%+v %+v", *own, *other)
	p := makePlan(planInput{
		own: own, others: []*inventory.Record{other},
		objects: []wantedObject{{key: entry("mine", "").ObjectKey, feature: Resources, hash: "new"}, {key: entry("theirs", "").ObjectKey, feature: Resources, hash: "new"}},
	})
	if after := fmt.Sprintf("%+v %+v", *own, *other); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	if diff := cmp.Diff([]string{"web: mine theirs<other stale"}, describe([]*inventory.Record{p.record})); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"other:"}, describe(p.losers)); diff != "" {
		t.Errorf("losers (-want +got):\n%s", diff)
	}
	if len(p.staleObjects) != 1 || p.staleObjects[0].Name != "stale" {
		t.Errorf("stale %v", p.staleObjects)
	}
}
