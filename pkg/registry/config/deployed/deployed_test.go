// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deployed

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

var (
	applied = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	first   = inventory.Owner{Kind: "ClusterProfile", Name: "first"}
	second  = inventory.Owner{Kind: "ClusterProfile", Name: "second"}
)

func cluster(name string) fleet.Ref {
	return fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "civo", Name: name}
}

func object(name string, at metav1.Time, from *inventory.OwnerKey) inventory.Object {
	return inventory.Object{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "x", Name: name}, LastAppliedTime: at, TakenFrom: from}
}

func release(name string, at metav1.Time, from *inventory.OwnerKey) inventory.Release {
	return inventory.Release{ReleaseKey: inventory.ReleaseKey{Namespace: "x", Name: name}, LastAppliedTime: at, TakenFrom: from}
}

type fixed struct {
	records []*inventory.Record
	err     error
}

func (f fixed) List(context.Context, string) ([]*inventory.Record, error) { return f.records, f.err }

// summary is "cluster owner: releases objects" of each record.
func summary(records []*inventory.Record) []string {
	var out []string
	for _, r := range records {
		line := r.Cluster.Name + " " + r.Owner.Name + ":"
		for _, release := range r.Releases {
			line += " release/" + release.Name
		}
		for _, object := range r.Objects {
			line += " " + object.Name
		}
		out = append(out, line)
	}
	return out
}

func TestOnlyWhatIsDeployedIsListed(t *testing.T) {
	never := metav1.Time{}
	from := first.Key()
	tests := map[string]struct {
		records []*inventory.Record
		want    []string
	}{
		"nothing": {},
		"applied, and planned only": {
			records: []*inventory.Record{{
				Cluster: cluster("c"), Owner: first,
				Objects:  []inventory.Object{object("there", applied, nil), object("planned", never, nil)},
				Releases: []inventory.Release{release("there", applied, nil), release("planned", never, nil)},
			}},
			want: []string{"c first: release/there there"},
		},
		"planned only": {
			records: []*inventory.Record{{Cluster: cluster("c"), Owner: first, Objects: []inventory.Object{object("planned", never, nil)}}},
		},
		"taken over": {
			records: []*inventory.Record{
				{Cluster: cluster("c"), Owner: first, Objects: []inventory.Object{object("o", applied, nil), object("kept", applied, nil)}, Releases: []inventory.Release{release("r", applied, nil)}},
				{Cluster: cluster("c"), Owner: second, Objects: []inventory.Object{object("o", applied, &from)}, Releases: []inventory.Release{release("r", applied, &from)}},
			},
			want: []string{"c first: kept", "c second: release/r o"},
		},
		"taken over in another cluster": {
			records: []*inventory.Record{
				{Cluster: cluster("d"), Owner: second, Objects: []inventory.Object{object("o", applied, &from)}},
				{Cluster: cluster("c"), Owner: first, Objects: []inventory.Object{object("o", applied, nil)}},
			},
			want: []string{"c first: o", "d second: o"},
		},
		"a release is no object of its name": {
			records: []*inventory.Record{
				{Cluster: cluster("c"), Owner: second, Releases: []inventory.Release{release("o", applied, &from)}},
				{Cluster: cluster("c"), Owner: first, Objects: []inventory.Object{{ObjectKey: inventory.ObjectKey{Namespace: "x", Name: "o"}, LastAppliedTime: applied}}},
			},
			want: []string{"c first: o", "c second: release/o"},
		},
		"in order": {
			records: []*inventory.Record{
				{Cluster: cluster("d"), Owner: first, Objects: []inventory.Object{object("o", applied, nil)}},
				{Cluster: cluster("c"), Owner: second, Objects: []inventory.Object{object("p", applied, nil)}},
				{Cluster: cluster("c"), Owner: first, Objects: []inventory.Object{object("o", applied, nil)}},
			},
			want: []string{"c first: o", "c second: p", "d first: o"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := List(t.Context(), fixed{records: test.records}, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, summary(got)); diff != "" {
				t.Errorf("deployed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordsAreNotChanged(t *testing.T) {
	record := &inventory.Record{Cluster: cluster("c"), Owner: first, Objects: []inventory.Object{object("planned", metav1.Time{}, nil), object("there", applied, nil)}}
	before := record.Clone()
	if _, err := List(t.Context(), fixed{records: []*inventory.Record{record}}, ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, record); diff != "" {
		t.Errorf("the inventory's own record (-before +after):\n%s", diff)
	}
}

func TestAnInventoryThatCannotBeReadIsAnError(t *testing.T) {
	failure := errors.New("the store is away")
	if _, err := List(t.Context(), fixed{err: failure}, ""); !errors.Is(err, failure) {
		t.Errorf("error is %v", err)
	}
}
