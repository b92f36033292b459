// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"cmp"
	"hash/fnv"
	"io"
	"slices"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// This file says once more what a selection is, by trying and sorting
// everything there is, and without anything of the package but its types. Each
// part of a rule can be turned off: a case in which that changes the outcome
// is a case in which the rule mattered, and Compute has to differ from the
// oracle without it.

type rule string

const (
	none rule = ""

	selectorMatches     rule = "1 the selector matches"
	refsMatch           rule = "1 refs match"
	emptyMatchesNothing rule = "1 an empty selector matches nothing"
	clusterCountsOnce   rule = "1 a cluster named twice is one"
	deletingIsGone      rule = "1 a cluster being deleted does not match"
	pausedMatches       rule = "1 paused clusters match"
	ownNamespace        rule = "1 a Set sees its namespace alone"

	sticky          rule = "2 what was selected is kept"
	oldestFirst     rule = "2 oldest first"
	neverRemoves    rule = "2 health does not merely remove"
	healthReplaces  rule = "2 health replaces"
	freePlacesFirst rule = "2 free places are used before held ones"
	newestHeldFirst rule = "2 the newest held one is replaced first"

	fillsUp          rule = "3 free places are filled"
	byRank           rule = "3 by rank"
	rankPerSet       rule = "3 the rank is the set's own"
	obeysMax         rule = "3 maxReplicas is obeyed"
	heldDroppedFirst rule = "3 shrinking drops held ones first"
	newDroppedFirst  rule = "3 then the newest"

	returningWaits rule = "4 a returning cluster is not picked"

	zeroSelectsNothing rule = "5 no replicas, no selection"

	brakeKeeps    rule = "brake: nothing is replaced or dropped"
	brakeNoPick   rule = "brake: nothing is picked"
	brakeNoShrink rule = "brake: nothing is dropped to shrink"
	brakeMatching rule = "brake: what stops matching leaves"
	brakeZero     rule = "brake: no replicas, no selection"
)

func rules() []rule {
	return []rule{
		selectorMatches, refsMatch, emptyMatchesNothing, clusterCountsOnce, deletingIsGone, pausedMatches, ownNamespace,
		sticky, oldestFirst, neverRemoves, healthReplaces, freePlacesFirst, newestHeldFirst,
		fillsUp, byRank, rankPerSet, obeysMax, heldDroppedFirst, newDroppedFirst,
		returningWaits, zeroSelectsNothing,
		brakeKeeps, brakeNoPick, brakeNoShrink, brakeMatching, brakeZero,
	}
}

// world is one case: everything that a selection depends on.
type world struct {
	spec      selection.Spec
	predicate func(labels map[string]string) bool // what spec.Selector asks; nil where it is empty
	previous  []fleet.Ref
	members   []fleet.Member
	returning map[fleet.Ref]bool
}

// outcome is everything that a Result says.
type outcome struct {
	Selected []fleet.Ref
	Matching []fleet.Ref
	Healthy  int
	Counts   map[selection.Reason]int
	Reasons  map[fleet.Ref]selection.Reason
}

// oracle decides the case with one part of a rule turned off.
func oracle(w world, off rule) outcome {
	visible := slices.DeleteFunc(slices.Clone(w.members), func(m fleet.Member) bool {
		return w.spec.Set.Namespace != "" && m.Namespace != w.spec.Set.Namespace && off != ownNamespace
	})
	matching := matchingOf(w, visible, off)
	chosen := chosenOf(w, matching, visible, off)

	result := outcome{
		Selected: []fleet.Ref{},
		Matching: []fleet.Ref{},
		Counts:   map[selection.Reason]int{},
		Reasons:  map[fleet.Ref]selection.Reason{},
	}
	for _, m := range chosen {
		result.Selected = append(result.Selected, m.Ref)
	}
	for _, m := range matching {
		if m.Ready {
			result.Matching = append(result.Matching, m.Ref)
			result.Healthy++
		}
	}
	for _, m := range visible {
		reason := reasonOf(m, chosen, matching, w.returning)
		result.Reasons[m.Ref] = reason
		result.Counts[reason]++
	}
	return result
}

func reasonOf(m fleet.Member, chosen, matching []fleet.Member, returning map[fleet.Ref]bool) selection.Reason {
	switch {
	case contains(chosen, m.Ref) && m.Ready:
		return selection.Selected
	case contains(chosen, m.Ref):
		return selection.Held
	case !contains(matching, m.Ref):
		return selection.NotMatching
	case returning[m.Ref]:
		return selection.Returning
	case m.Ready:
		return selection.Standby
	default:
		return selection.NotReady
	}
}

func contains(members []fleet.Member, ref fleet.Ref) bool {
	return slices.ContainsFunc(members, func(m fleet.Member) bool { return m.Ref == ref })
}

// matchingOf lists what matches, by rank.
func matchingOf(w world, visible []fleet.Member, off rule) []fleet.Member {
	var matching []fleet.Member
	for _, m := range visible {
		if m.Deleting && off != deletingIsGone || m.Paused && off == pausedMatches {
			continue
		}
		bySelector := w.predicate != nil && w.predicate(m.Labels) && off != selectorMatches ||
			w.predicate == nil && off == emptyMatchesNothing
		if bySelector {
			matching = append(matching, m)
		}
		for _, ref := range w.spec.Refs {
			if ref.Namespace == "" && w.spec.Set.Namespace != "" {
				ref.Namespace = w.spec.Set.Namespace
			}
			if m.Ref == ref && off != refsMatch && (!contains(matching, m.Ref) || off == clusterCountsOnce) {
				matching = append(matching, m)
			}
		}
	}
	ranks := map[fleet.Ref]uint64{}
	for _, m := range matching {
		if off != byRank {
			ranks[m.Ref] = oracleRank(w.spec.Set, m.Ref, off)
		}
	}
	slices.SortStableFunc(matching, func(a, b fleet.Member) int {
		return cmp.Or(cmp.Compare(ranks[a.Ref], ranks[b.Ref]), a.Compare(b.Ref))
	})
	return matching
}

// oracleRank follows the documentation of selection.Rank.
func oracleRank(set selection.SetKey, ref fleet.Ref, off rule) uint64 {
	finish := func(h uint64) uint64 {
		for _, factor := range []uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53, 1} {
			h = (h ^ h>>33) * factor
		}
		return h
	}
	digest := func(text string) uint64 {
		h := fnv.New64a()
		_, _ = io.WriteString(h, text)
		return finish(h.Sum64())
	}
	cluster := digest(ref.Namespace + "/" + ref.Name)
	if off == rankPerSet {
		return cluster
	}
	return finish(digest(set.Kind+"/"+set.Namespace+"/"+set.Name) ^ cluster)
}

// chosenOf lists what is selected, oldest first: each cluster has a claim, and
// the places go to the strongest claims.
func chosenOf(w world, matching, visible []fleet.Member, off rule) []fleet.Member {
	places := w.spec.MaxReplicas
	halted := w.spec.Halted && off != brakeKeeps
	if places <= 0 && off != zeroSelectsNothing && (off != brakeZero || !halted) {
		return nil
	}
	if places <= 0 || off == obeysMax {
		places = len(w.members) * 2
	}
	had := hadOf(w, matching, visible, off)
	var ready, fresh, held []fleet.Member
	for _, m := range had {
		if m.Ready || off == healthReplaces {
			ready = append(ready, m)
		} else if off != neverRemoves || halted {
			held = append(held, m)
		}
	}
	if halted && off != brakeNoShrink {
		places = len(had)
		if off == brakeNoPick {
			places = max(len(had), w.spec.MaxReplicas)
		}
	}
	if off == heldDroppedFirst && len(had) > places && !halted {
		ready, held = split(had[:places])
	}
	if off == newDroppedFirst {
		slices.Reverse(ready)
	}
	if off == newestHeldFirst {
		slices.Reverse(held)
	}
	for _, m := range matching {
		known := slices.Contains(w.previous, m.Ref) && off != sticky
		if m.Ready && !known && (!w.returning[m.Ref] || off == returningWaits) && off != fillsUp {
			fresh = append(fresh, m)
		}
	}
	if halted && off == brakeNoPick {
		fresh = fresh[:min(len(fresh), places-len(had))]
	} else if halted {
		fresh = nil
	}
	claims := slices.Concat(ready, fresh, held)
	if off == freePlacesFirst && !halted {
		claims = slices.Concat(ready, fresh, held[:max(0, len(held)-len(fresh))])
	}
	claims = claims[:min(len(claims), places)]
	return byAge(claims, had)
}

func split(members []fleet.Member) (ready, held []fleet.Member) {
	for _, m := range members {
		if m.Ready {
			ready = append(ready, m)
		} else {
			held = append(held, m)
		}
	}
	return ready, held
}

// hadOf lists what was selected and matches, oldest first.
func hadOf(w world, matching, visible []fleet.Member, off rule) []fleet.Member {
	if off == sticky {
		return nil
	}
	if off == brakeMatching && w.spec.Halted {
		matching = visible
	}
	var had []fleet.Member
	for _, ref := range w.previous {
		for _, m := range matching {
			if m.Ref == ref && !contains(had, ref) {
				had = append(had, m)
			}
		}
	}
	if off == oldestFirst {
		slices.SortStableFunc(had, func(a, b fleet.Member) int {
			return slices.IndexFunc(matching, func(m fleet.Member) bool { return m.Ref == a.Ref }) -
				slices.IndexFunc(matching, func(m fleet.Member) bool { return m.Ref == b.Ref })
		})
	}
	return had
}

// byAge puts those that were selected before in front, in that order.
func byAge(claims, had []fleet.Member) []fleet.Member {
	age := func(m fleet.Member) int {
		if i := slices.IndexFunc(had, func(h fleet.Member) bool { return h.Ref == m.Ref }); i >= 0 {
			return i
		}
		return len(had)
	}
	slices.SortStableFunc(claims, func(a, b fleet.Member) int { return cmp.Compare(age(a), age(b)) })
	return claims
}
