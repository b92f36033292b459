// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"slices"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// A takeover writes two records, which nothing makes atomic. The new owner's is
// written first, with TakenFrom naming the old one; then the old one's, without
// the entry. Wherever that is cut short, TakenFrom says whose entry counts, and
// settle completes takeovers that were cut short, in memory, and returns what
// to write, in this order: the losers without what they lost, and only when
// that is durable the winners without the marks that say so.
func settle(records []*inventory.Record) []*inventory.Record {
	byOwner := map[inventory.OwnerKey]*inventory.Record{}
	for _, r := range records {
		byOwner[r.Owner.Key()] = r
	}
	var losers, winners []*inventory.Record
	for _, r := range records {
		if !hasTakenFrom(r) {
			continue
		}
		winners = append(winners, r)
		for _, o := range r.Objects {
			if loser := takenFrom(byOwner, o.TakenFrom); loser != nil && loseObject(loser, o.ObjectKey) {
				losers = append(losers, loser)
			}
		}
		for _, o := range r.Releases {
			if loser := takenFrom(byOwner, o.TakenFrom); loser != nil && loseRelease(loser, o.ReleaseKey) {
				losers = append(losers, loser)
			}
		}
	}
	writes := make([]*inventory.Record, 0, len(losers)+len(winners))
	for i, r := range losers {
		if !slices.Contains(losers[:i], r) {
			// A copy: a loser may be a winner too, and its marks must outlast
			// this write.
			writes = append(writes, r.Clone())
		}
	}
	for _, r := range winners {
		clearTakenFrom(r)
	}
	return append(writes, winners...)
}

func takenFrom(byOwner map[inventory.OwnerKey]*inventory.Record, key *inventory.OwnerKey) *inventory.Record {
	if key == nil {
		return nil
	}
	return byOwner[*key]
}

func hasTakenFrom(r *inventory.Record) bool {
	return slices.ContainsFunc(r.Objects, func(o inventory.Object) bool { return o.TakenFrom != nil }) ||
		slices.ContainsFunc(r.Releases, func(o inventory.Release) bool { return o.TakenFrom != nil })
}

func clearTakenFrom(r *inventory.Record) {
	for i := range r.Objects {
		r.Objects[i].TakenFrom = nil
	}
	for i := range r.Releases {
		r.Releases[i].TakenFrom = nil
	}
}

func dropObject(r *inventory.Record, key inventory.ObjectKey) bool {
	n := len(r.Objects)
	r.Objects = slices.DeleteFunc(r.Objects, func(o inventory.Object) bool { return o.ObjectKey == key })
	return len(r.Objects) != n
}

// loseObject takes an object out of a record, whose owner wants it from then
// on: it gets it back should the new owner let go of it.
func loseObject(r *inventory.Record, key inventory.ObjectKey) bool {
	if !dropObject(r, key) {
		return false
	}
	r.WantedObjects = append(r.WantedObjects, key)
	return true
}

// loseRelease is loseObject for a release.
func loseRelease(r *inventory.Record, key inventory.ReleaseKey) bool {
	if !dropRelease(r, key) {
		return false
	}
	r.WantedReleases = append(r.WantedReleases, key)
	return true
}

func dropRelease(r *inventory.Record, key inventory.ReleaseKey) bool {
	n := len(r.Releases)
	r.Releases = slices.DeleteFunc(r.Releases, func(o inventory.Release) bool { return o.ReleaseKey == key })
	return len(r.Releases) != n
}

// takeover collects what a plan takes from others.
type takeover struct {
	in      planInput
	changed map[inventory.OwnerKey]*inventory.Record
}

func newTakeover(in planInput) *takeover {
	return &takeover{in: in, changed: map[inventory.OwnerKey]*inventory.Record{}}
}

// decide says whether something of another owner is taken from it: the lower
// tier wins, ties keep the owner.
func (t *takeover) decide(owner *inventory.Record, what string) (verdict, *ConflictError) {
	lower := t.in.own.Owner.Tier < owner.Owner.Tier
	busy := t.in.busy[owner.Owner.Key()]
	if lower && !busy {
		return verdictApply, nil
	}
	return verdictConflict, &ConflictError{Cluster: t.in.own.Cluster, Object: what, Owner: owner.Owner.Key(), Temporary: lower}
}

// object takes an object: the step gets what the loser knows of it.
func (t *takeover) object(owner *inventory.Record, key inventory.ObjectKey, s *objectStep) *inventory.OwnerKey {
	loser := t.loser(owner)
	from := owner.Owner.Key()
	s.before = cloneEntry(loser.Object(key))
	s.before.FormerOwners = append(slices.Clone(s.before.FormerOwners), from)
	loseObject(loser, key)
	return &from
}

// release takes a release.
func (t *takeover) release(owner *inventory.Record, key inventory.ReleaseKey, s *releaseStep) *inventory.OwnerKey {
	loser := t.loser(owner)
	s.before = cloneEntry(loser.Release(key))
	loseRelease(loser, key)
	from := owner.Owner.Key()
	return &from
}

func (t *takeover) loser(owner *inventory.Record) *inventory.Record {
	key := owner.Owner.Key()
	if t.changed[key] == nil {
		t.changed[key] = owner.Clone()
	}
	return t.changed[key]
}

func (t *takeover) losers() []*inventory.Record {
	losers := make([]*inventory.Record, 0, len(t.changed))
	for _, r := range t.changed {
		losers = append(losers, r)
	}
	slices.SortFunc(losers, func(a, b *inventory.Record) int { return a.Owner.Key().Compare(b.Owner.Key()) })
	return losers
}

// heir returns the record to which something goes when its owner lets go of
// it: of those that want it the one with the lowest tier.
func heir(records []*inventory.Record, owner inventory.OwnerKey, wants func(*inventory.Record) bool) *inventory.Record {
	var best *inventory.Record
	for _, r := range records {
		if r.Owner.Key() == owner || !wants(r) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(r.Owner.Tier, best.Owner.Tier), r.Owner.Key().Compare(best.Owner.Key())) < 0 {
			best = r
		}
	}
	return best
}

// bequeathObject moves an entry to its heir, in memory. The heir is written
// first. Its content is in doubt for the heir, which applies its own.
func bequeathObject(from, to *inventory.Record, key inventory.ObjectKey) {
	entry := from.Object(key)
	if entry == nil {
		return
	}
	owner := from.Owner.Key()
	moved := *entry
	moved.ContentHash, moved.TakenFrom = "", &owner
	moved.FormerOwners = append(slices.Clone(entry.FormerOwners), owner)
	dropObject(from, key)
	dropObject(to, key)
	to.Objects = append(to.Objects, moved)
	to.WantedObjects = slices.DeleteFunc(to.WantedObjects, func(k inventory.ObjectKey) bool { return k == key })
}

// bequeathRelease is bequeathObject for a release.
func bequeathRelease(from, to *inventory.Record, key inventory.ReleaseKey) {
	entry := from.Release(key)
	if entry == nil {
		return
	}
	owner := from.Owner.Key()
	moved := *entry
	moved.ContentHash, moved.TakenFrom = "", &owner
	dropRelease(from, key)
	dropRelease(to, key)
	to.Releases = append(to.Releases, moved)
	to.WantedReleases = slices.DeleteFunc(to.WantedReleases, func(k inventory.ReleaseKey) bool { return k == key })
}
