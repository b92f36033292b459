// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package deployed is what the views of inventories have in common: it tells
// what is deployed from what inventories remember besides.
package deployed

import (
	"context"
	"slices"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// Inventories are what profiles have put on clusters, or were about to.
type Inventories interface {
	// List returns the records of the clusters in a namespace, or of all
	// clusters if it is empty. The caller may keep and change them.
	List(ctx context.Context, namespace string) ([]*inventory.Record, error)
}

// List returns records whose entries are deployed, in the order of clusters and
// owners. Left out are entries that were planned and never applied, those that
// another profile has taken over, and records that then have nothing.
func List(ctx context.Context, inventories Inventories, namespace string) ([]*inventory.Record, error) {
	records, err := inventories.List(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return filter(records), nil
}

func filter(records []*inventory.Record) []*inventory.Record {
	taken := takenOver(records)
	deployed := make([]*inventory.Record, 0, len(records))
	for _, r := range records {
		r = r.Clone()
		r.Releases = slices.DeleteFunc(r.Releases, func(release inventory.Release) bool {
			return release.LastAppliedTime.IsZero() || taken[claim{r.Cluster, releaseThing(release.ReleaseKey), r.Owner.Key()}]
		})
		r.Objects = slices.DeleteFunc(r.Objects, func(object inventory.Object) bool {
			return object.LastAppliedTime.IsZero() || taken[claim{r.Cluster, thing{ObjectKey: object.ObjectKey}, r.Owner.Key()}]
		})
		if !r.Empty() {
			deployed = append(deployed, r)
		}
	}
	slices.SortStableFunc(deployed, func(a, b *inventory.Record) int {
		if order := Cluster(a).Compare(Cluster(b)); order != 0 {
			return order
		}
		return a.Owner.Key().Compare(b.Owner.Key())
	})
	return deployed
}

// thing is a release or an object of a cluster.
type thing struct {
	release bool
	inventory.ObjectKey
}

func releaseThing(key inventory.ReleaseKey) thing {
	return thing{release: true, ObjectKey: inventory.ObjectKey{Namespace: key.Namespace, Name: key.Name}}
}

// claim is a profile's entry for a thing.
type claim struct {
	cluster fleet.Ref
	thing   thing
	owner   inventory.OwnerKey
}

// takenOver are the entries that count for nothing, because another profile has
// the same thing now and remembers whom it took it from.
func takenOver(records []*inventory.Record) map[claim]bool {
	taken := map[claim]bool{}
	for _, r := range records {
		for _, release := range r.Releases {
			if from := release.TakenFrom; from != nil {
				taken[claim{r.Cluster, releaseThing(release.ReleaseKey), *from}] = true
			}
		}
		for _, object := range r.Objects {
			if from := object.TakenFrom; from != nil {
				taken[claim{r.Cluster, thing{ObjectKey: object.ObjectKey}, *from}] = true
			}
		}
	}
	return taken
}
