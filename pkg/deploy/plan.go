// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// wantedObject is an object of a request, as far as planning needs it.
type wantedObject struct {
	key           inventory.ObjectKey
	version       string
	feature       Feature
	source        inventory.Source
	hash          string
	content       *unstructured.Unstructured // sanitized, without marks
	skipNamespace bool
	force         bool
	subresources  []string
	excluded      []string // JSON pointers to fields that others may change
}

// wantedRelease is a chart of a request, as far as planning needs it.
type wantedRelease struct {
	key   inventory.ReleaseKey
	hash  string
	chart Chart
}

// verdict is what planning decides about one wanted thing.
type verdict string

const (
	// verdictKeep is for what is as it was applied last.
	verdictKeep verdict = "Keep"
	// verdictApply is for what is new, has changed, or is in doubt.
	verdictApply verdict = "Apply"
	// verdictConflict is for what another owner keeps.
	verdictConflict verdict = "Conflict"
	// verdictOverridden is for what a reference of the same profile with a
	// lower tier holds as well.
	verdictOverridden verdict = "Overridden"
	// verdictShared is for what the same profile has on the host for another of its
	// clusters, just as it would have it for this one.
	verdictShared verdict = "Shared"
	// verdictSkip is for what stands behind a conflict that stops its list.
	verdictSkip verdict = "Skip"
)

// objectStep is the plan for one wanted object.
type objectStep struct {
	wantedObject
	verdict  verdict
	conflict *ConflictError
	// before is the owner's own entry before the pass.
	before    *inventory.Object
	takenFrom *inventory.OwnerKey
}

// releaseStep is the plan for one wanted release.
type releaseStep struct {
	wantedRelease
	verdict   verdict
	conflict  *ConflictError
	before    *inventory.Release
	takenFrom *inventory.OwnerKey
}

// planInput is everything that a plan depends on. The records are settled, and
// all of the same cluster.
type planInput struct {
	// own is the owner's record. It may be empty, and has the owner, summary
	// and cluster filled in.
	own    *inventory.Record
	others []*inventory.Record
	// busy are the owners that have a pass under way. Nothing is taken from
	// them: they may be applying it in this moment.
	busy map[inventory.OwnerKey]bool

	// drifted are objects that are applied again whatever the record says of them.
	drifted map[inventory.ObjectKey]bool

	objects  []wantedObject // list by list
	releases []wantedRelease
	// stopAtConflict says that a list ends at its first conflict.
	stopAtConflict bool
	reapply        bool
	// revisionDone says that the request's revision was deployed in full.
	revisionDone bool
	// predecessor is the profile whose content is taken over as it is let go. What
	// it has does not end a list: all of it is to be found wanted by then.
	predecessor inventory.OwnerKey
}

// plan is what a pass will do.
type plan struct {
	// record is what the owner has united with what it is about to have. It is
	// stored before anything is applied.
	record *inventory.Record
	// losers are the records of those from whom something is taken, without it.
	// They are stored after record and before anything is applied.
	losers   []*inventory.Record
	objects  []objectStep
	releases []releaseStep
	// staleObjects and staleReleases are what the owner has and does not want.
	staleObjects  []inventory.Object
	staleReleases []inventory.Release
}

// makePlan decides what a pass will do. It is pure: it changes nothing that it
// is given.
func makePlan(in planInput) plan {
	p := plan{record: in.own.Clone()}
	taking := newTakeover(in)
	planObjects(&p, in, taking)
	planReleases(&p, in, taking)
	p.losers = taking.losers()
	return p
}

func planObjects(p *plan, in planInput, taking *takeover) {
	winners := objectWinners(in.objects)
	reordered := reorderedFeatures(in.own.Objects, in.objects)
	entries, owners := in.own.ByKey(), map[inventory.ObjectKey]*inventory.Record{}
	for _, r := range in.others {
		for i := range r.Objects {
			owners[r.Objects[i].ObjectKey] = r
		}
	}

	stopped := map[Feature]bool{}
	p.record.WantedObjects = nil
	for i, w := range in.objects {
		s := objectStep{wantedObject: w, before: cloneEntry(entries[w.key])}
		if s.before != nil && (in.reapply || reordered[w.feature] || in.drifted[w.key]) {
			s.before.ContentHash = "" // in doubt until it was applied again
		}
		winner := in.objects[winners[w.key]]
		switch {
		case stopped[w.feature]:
			s.verdict = verdictSkip
		case winners[w.key] != i && winner.source.Tier < w.source.Tier:
			s.verdict = verdictOverridden
		case winners[w.key] != i:
			s.verdict = verdictConflict
			s.conflict = &ConflictError{Cluster: in.own.Cluster, Object: w.key.String(), Owner: in.own.Owner.Key(), Source: winner.source.String()}
		case owners[w.key] != nil:
			s.verdict, s.conflict = taking.decide(owners[w.key], w.key.String())
			s.share(in.own.Owner, owners[w.key])
			if s.verdict == verdictApply {
				s.takenFrom = taking.object(owners[w.key], w.key, &s)
			} else {
				p.record.WantedObjects = append(p.record.WantedObjects, w.key)
			}
		case s.before != nil && s.before.ContentHash == w.hash:
			s.verdict = verdictKeep
		default:
			s.verdict = verdictApply
		}
		stopped[w.feature] = stopped[w.feature] || in.stopsAt(s.conflict)
		p.objects = append(p.objects, s)
	}
	p.record.Objects, p.staleObjects = uniteObjects(in.own.Objects, p.objects)
}

// stopsAt reports whether a list ends at a conflict, nil if there is none.
func (in planInput) stopsAt(conflict *ConflictError) bool {
	return conflict != nil && in.stopAtConflict && (in.predecessor == inventory.OwnerKey{} || conflict.Owner != in.predecessor)
}

// share changes the verdict about what the same profile has on the host for another
// of its clusters: it may have one object there for many. Whoever has it lets it go to
// one of the others.
func (s *objectStep) share(own inventory.Owner, other *inventory.Record) {
	if own.Cluster == "" || other.Owner.Key().Profile() != own.Key().Profile() {
		return
	}
	switch entry := other.Object(s.key); {
	case entry.ContentHash == s.hash:
		s.verdict, s.conflict = verdictShared, nil
	case s.conflict != nil:
		s.conflict.Sibling, s.conflict.Temporary = true, s.conflict.Temporary || entry.ContentHash == ""
	}
}

// objectWinners returns, for each key, which of the wanted objects with it
// counts: the one whose source has the lowest tier, the first of equals.
func objectWinners(wanted []wantedObject) map[inventory.ObjectKey]int {
	winners := map[inventory.ObjectKey]int{}
	for i, w := range wanted {
		if best, ok := winners[w.key]; !ok || w.source.Tier < wanted[best].source.Tier {
			winners[w.key] = i
		}
	}
	return winners
}

// reorderedFeatures returns the lists in which what was applied before stands
// in another order now. They are applied again: the order is part of what the
// user wrote.
func reorderedFeatures(old []inventory.Object, wanted []wantedObject) map[Feature]bool {
	before, now := map[Feature][]inventory.ObjectKey{}, map[Feature][]inventory.ObjectKey{}
	known := map[inventory.ObjectKey]string{}
	for _, o := range old {
		known[o.ObjectKey] = o.Feature
	}
	seen := map[inventory.ObjectKey]bool{}
	for _, w := range wanted {
		if feature, ok := known[w.key]; ok && feature == string(w.feature) && !seen[w.key] {
			now[w.feature] = append(now[w.feature], w.key)
			seen[w.key] = true
		}
	}
	for _, o := range old {
		if seen[o.ObjectKey] {
			before[Feature(o.Feature)] = append(before[Feature(o.Feature)], o.ObjectKey)
		}
	}
	reordered := map[Feature]bool{}
	for feature, keys := range now {
		reordered[feature] = !slices.Equal(keys, before[feature])
	}
	return reordered
}

// uniteObjects returns the entries of old and of what is planned, the planned
// ones first and in their order, and the entries of old that nothing wants. An
// entry about to be applied has no hash: should the process die, its content
// is in doubt.
func uniteObjects(old []inventory.Object, steps []objectStep) (union, stale []inventory.Object) {
	placed, wanted := map[inventory.ObjectKey]bool{}, map[inventory.ObjectKey]bool{}
	for _, s := range steps {
		wanted[s.key] = true
		switch {
		case placed[s.key]:
		case s.verdict == verdictApply:
			union = append(union, plannedObject(s))
			placed[s.key] = true
		case s.before != nil && s.verdict != verdictOverridden:
			union = append(union, *s.before)
			placed[s.key] = true
		}
	}
	for _, o := range old {
		if !placed[o.ObjectKey] {
			union = append(union, o)
		}
		if !wanted[o.ObjectKey] {
			stale = append(stale, o)
		}
	}
	return union, stale
}

func plannedObject(s objectStep) inventory.Object {
	entry := inventory.Object{}
	if s.before != nil {
		entry = *s.before
	}
	entry.ObjectKey, entry.Version, entry.Feature, entry.Source = s.key, s.version, string(s.feature), s.source
	entry.ContentHash, entry.TakenFrom = "", s.takenFrom
	return entry
}

func planReleases(p *plan, in planInput, taking *takeover) {
	owners := map[inventory.ReleaseKey]*inventory.Record{}
	for _, r := range in.others {
		for i := range r.Releases {
			owners[r.Releases[i].ReleaseKey] = r
		}
	}
	reordered := releasesReordered(in.own.Releases, in.releases)
	stopped, seen := false, map[inventory.ReleaseKey]bool{}
	p.record.WantedReleases = nil
	for _, w := range in.releases {
		s := releaseStep{wantedRelease: w, before: cloneEntry(in.own.Release(w.key))}
		if s.before != nil && (in.reapply || reordered) {
			s.before.ContentHash = ""
		}
		switch {
		case stopped:
			s.verdict = verdictSkip
		case seen[w.key]:
			s.verdict = verdictConflict
			s.conflict = &ConflictError{Cluster: in.own.Cluster, Object: w.key.String(), Owner: in.own.Owner.Key(), Source: "another entry of helmCharts"}
		case owners[w.key] != nil && w.chart.Uninstall:
			// Whatever the tiers: it would be installed again, and so on for ever.
			s.verdict = verdictConflict
			s.conflict = &ConflictError{Cluster: in.own.Cluster, Object: w.key.String(), Owner: owners[w.key].Owner.Key(), Uninstall: true}
		case owners[w.key] != nil:
			s.verdict, s.conflict = taking.decide(owners[w.key], w.key.String())
			if s.verdict == verdictApply {
				s.takenFrom = taking.release(owners[w.key], w.key, &s)
			} else {
				p.record.WantedReleases = append(p.record.WantedReleases, w.key)
			}
		case w.chart.Uninstall && s.before == nil && in.revisionDone && !in.reapply:
			s.verdict = verdictKeep
		case s.before != nil && s.before.ContentHash == w.hash:
			s.verdict = verdictKeep
		default:
			s.verdict = verdictApply
		}
		seen[w.key] = true
		stopped = stopped || in.stopsAt(s.conflict)
		p.releases = append(p.releases, s)
	}
	p.record.Releases, p.staleReleases = uniteReleases(in.own.Releases, p.releases)
}

func releasesReordered(old []inventory.Release, wanted []wantedRelease) bool {
	var before, now []inventory.ReleaseKey
	for _, w := range wanted {
		now = append(now, w.key)
	}
	for _, r := range old {
		if slices.Contains(now, r.ReleaseKey) {
			before = append(before, r.ReleaseKey)
		}
	}
	now = slices.DeleteFunc(now, func(k inventory.ReleaseKey) bool { return !slices.Contains(before, k) })
	return !slices.Equal(before, now)
}

// uniteReleases is uniteObjects for releases. A release to be uninstalled stays
// in the union if it was there, until it is gone.
func uniteReleases(old []inventory.Release, steps []releaseStep) (union, stale []inventory.Release) {
	placed, wanted := map[inventory.ReleaseKey]bool{}, map[inventory.ReleaseKey]bool{}
	for _, s := range steps {
		wanted[s.key] = true
		switch {
		case placed[s.key]:
		case s.verdict == verdictApply && (s.before != nil || !s.chart.Uninstall):
			union = append(union, plannedRelease(s))
			placed[s.key] = true
		case s.before != nil:
			entry := *s.before
			if s.verdict == verdictKeep {
				remember(&entry, s.chart)
			}
			union = append(union, entry)
			placed[s.key] = true
		}
	}
	for _, r := range old {
		if !placed[r.ReleaseKey] {
			union = append(union, r)
		}
		if !wanted[r.ReleaseKey] {
			stale = append(stale, r)
		}
	}
	return union, stale
}

func plannedRelease(s releaseStep) inventory.Release {
	entry := inventory.Release{}
	if s.before != nil {
		entry = *s.before
	}
	entry.ReleaseKey, entry.ContentHash, entry.TakenFrom = s.key, "", s.takenFrom
	remember(&entry, s.chart)
	return entry
}

// cloneEntry copies what points into a record, so that it outlives changes there.
func cloneEntry[T any](entry *T) *T {
	if entry == nil {
		return nil
	}
	out := *entry
	return &out
}
