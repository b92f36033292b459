// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"slices"

	"github.com/muster-project/muster/pkg/fleet"
)

// Result is a decision. It may be shared between callers: its slices are not
// to be changed.
type Result struct {
	// Selected is complete and oldest first, held clusters among them.
	Selected []fleet.Ref
	// Matching lists healthy clusters in rank order, the first
	// MaxMatchingRefs of them; Healthy counts them all.
	Matching []fleet.Ref
	Healthy  int
	// Counts has every cluster that the set can see, once.
	Counts Counts
	// Dropped were selected before and match, but were not ready and lost their
	// places.
	Dropped []fleet.Ref

	reasons map[fleet.Ref]Reason // of the selected ones
}

// Compute decides what a set selects, by the five rules of the package
// comment. previous is what it selected before, oldest first, as its status
// stores it; names in it that are twice there or match no longer are passed
// over. It is pure: the same arguments give the same result everywhere, and
// its own result as previous gives that result again.
//
// It costs what it selects: one lookup per previous ref, and as many steps in
// rank order as places are filled and clusters listed.
func Compute(spec Spec, previous []fleet.Ref, candidates Candidates) Result {
	places := min(spec.MaxReplicas, MaxSelected)
	if places <= 0 { // rule 5
		return newResult(nil, candidates)
	}
	kept, seen := stillMatching(previous, candidates)
	if spec.Halted { // the brake
		return newResult(kept, candidates)
	}
	held := notReady(kept) // fill writes over kept
	result := newResult(fill(kept, seen, places, candidates), candidates)
	result.Dropped = slices.DeleteFunc(held, func(ref fleet.Ref) bool {
		_, selected := result.reasons[ref]
		return selected
	})
	return result
}

func notReady(candidates []Candidate) []fleet.Ref {
	var refs []fleet.Ref
	for _, candidate := range candidates {
		if !candidate.Ready {
			refs = append(refs, candidate.Ref)
		}
	}
	return refs
}

// stillMatching is the first half of rule 2: what was selected and still
// matches, oldest first, in any health. seen has the same clusters.
func stillMatching(previous []fleet.Ref, candidates Candidates) (kept []Candidate, seen map[fleet.Ref]struct{}) {
	kept = make([]Candidate, 0, len(previous))
	seen = make(map[fleet.Ref]struct{}, len(previous))
	for _, ref := range previous {
		if _, twice := seen[ref]; twice {
			continue
		}
		candidate, matches := candidates.Lookup(ref)
		if !matches {
			continue
		}
		seen[ref] = struct{}{}
		kept = append(kept, candidate)
	}
	return kept, seen
}

// shrink is the second half of rule 3: it leaves at most places clusters, and
// drops held ones before ready ones and new ones before old ones.
func shrink(kept []Candidate, places int) []Candidate {
	readyLeft := min(countReady(kept), places)
	heldLeft := places - readyLeft
	left := kept[:0]
	for _, candidate := range kept {
		share := &heldLeft
		if candidate.Ready {
			share = &readyLeft
		}
		if *share > 0 {
			*share--
			left = append(left, candidate)
		}
	}
	return left
}

// fill is the rest of rules 2 and 3: healthy clusters take the places that no
// ready one has, free ones first, then those of the newest held ones; where
// there are fewer places than ready ones, it only shrinks.
func fill(kept []Candidate, seen map[fleet.Ref]struct{}, places int, candidates Candidates) []Candidate {
	fresh := pick(candidates, seen, places-countReady(kept))
	// Where anything was picked, at least as many places are left as kept
	// clusters are ready, so that this drops held ones only.
	return append(shrink(kept, places-len(fresh)), fresh...)
}

func countReady(candidates []Candidate) int {
	ready := 0
	for _, candidate := range candidates {
		if candidate.Ready {
			ready++
		}
	}
	return ready
}

// pick takes up to n clusters that were not selected before, by rank, and
// passes over the returning ones (rule 4).
func pick(candidates Candidates, seen map[fleet.Ref]struct{}, n int) []Candidate {
	if n <= 0 {
		return nil
	}
	var fresh []Candidate
	for candidate := range candidates.Healthy() {
		if _, had := seen[candidate.Ref]; had || candidate.Returning {
			continue
		}
		fresh = append(fresh, candidate)
		if len(fresh) == n {
			break
		}
	}
	return fresh
}

func newResult(selected []Candidate, candidates Candidates) Result {
	result := Result{
		Selected: make([]fleet.Ref, len(selected)),
		Matching: firstHealthy(candidates),
		Healthy:  candidates.Totals().Healthy,
		reasons:  make(map[fleet.Ref]Reason, len(selected)),
	}
	for i, candidate := range selected {
		result.Selected[i] = candidate.Ref
		result.reasons[candidate.Ref] = Held
		if candidate.Ready {
			result.reasons[candidate.Ref] = Selected
			result.Counts.Selected++
		}
	}
	result.count(candidates)
	return result
}

func firstHealthy(candidates Candidates) []fleet.Ref {
	matching := make([]fleet.Ref, 0, min(MaxMatchingRefs, candidates.Totals().Healthy))
	for candidate := range candidates.Healthy() {
		if len(matching) == MaxMatchingRefs {
			break
		}
		matching = append(matching, candidate.Ref)
	}
	return matching
}

// count completes Counts without visiting every candidate: those selected and
// those returning are known one by one, and the rest follows from the totals.
func (r *Result) count(candidates Candidates) {
	totals := candidates.Totals()
	readyReturning := 0
	for candidate := range candidates.Returning() {
		if r.Reason(candidate) != Returning {
			continue
		}
		r.Counts.Returning++
		if candidate.Ready {
			readyReturning++
		}
	}
	r.Counts.Held = len(r.Selected) - r.Counts.Selected
	r.Counts.Standby = totals.Healthy - r.Counts.Selected - readyReturning
	r.Counts.NotReady = totals.Matching - totals.Healthy - r.Counts.Held - (r.Counts.Returning - readyReturning)
	r.Counts.NotMatching = totals.Visible - totals.Matching
}

// Reason says what the result made of a candidate that it was computed from.
func (r *Result) Reason(candidate Candidate) Reason {
	if reason, selected := r.reasons[candidate.Ref]; selected {
		return reason
	}
	switch {
	case !candidate.Matching:
		return NotMatching
	case candidate.Returning:
		return Returning
	case !candidate.Ready:
		return NotReady
	default:
		return Standby
	}
}
