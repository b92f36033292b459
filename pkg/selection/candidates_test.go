// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"cmp"
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/muster-project/muster/pkg/fleet"
)

// NewCandidates prepares a plain list of clusters for [Compute]: it applies
// rule 1 of spec and orders what matches by rank, which costs what the list
// holds. A ref that is twice in the list counts once, the first time.
// returning says on which clusters a summary that the set alone caused is
// being deleted; nil means on none.
func NewCandidates(spec Spec, members []fleet.Member, returning func(fleet.Ref) bool) Candidates {
	matcher := newMatcher(spec)
	list := &candidateList{byRef: make(map[fleet.Ref]Candidate, len(members))}
	var matching []Candidate
	for _, member := range members {
		if _, twice := list.byRef[member.Ref]; twice || !matcher.sees(member.Namespace) {
			continue
		}
		candidate := Candidate{
			Ref:       member.Ref,
			Matching:  matcher.matches(member.Ref, labels.Set(member.Labels), member.Deleting),
			Ready:     member.Ready,
			Returning: returning != nil && returning(member.Ref),
		}
		list.byRef[member.Ref] = candidate
		if candidate.Matching {
			matching = append(matching, candidate)
		}
	}
	slices.SortFunc(matching, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(Rank(spec.Set, a.Ref), Rank(spec.Set, b.Ref)), a.Ref.Compare(b.Ref))
	})
	list.healthy = slices.DeleteFunc(slices.Clone(matching), func(c Candidate) bool { return !c.Ready })
	list.returning = slices.DeleteFunc(slices.Clone(matching), func(c Candidate) bool { return !c.Returning })
	list.totals = Totals{Visible: len(list.byRef), Matching: len(matching), Healthy: len(list.healthy)}
	return list
}

type candidateList struct {
	byRef     map[fleet.Ref]Candidate // all that the set sees
	healthy   []Candidate             // in rank order, as is returning
	returning []Candidate
	totals    Totals
}

func (l *candidateList) Lookup(ref fleet.Ref) (Candidate, bool) {
	candidate := l.byRef[ref]
	return candidate, candidate.Matching
}

func (l *candidateList) Healthy() iter.Seq[Candidate] {
	return slices.Values(l.healthy)
}

func (l *candidateList) Returning() iter.Seq[Candidate] {
	return slices.Values(l.returning)
}

func (l *candidateList) Totals() Totals {
	return l.totals
}
