// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

const (
	// firstPause is between the second and the third repair of an object in a row;
	// each further one is twice as long, up to lastPause.
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	// calm is for how long an object has to stay as it is for its repairs to be
	// forgotten, beyond the pause.
	calm = time.Minute
	// contested is from how many repairs in a row on somebody is said to be at it.
	contested = 3
)

// history is how often an object was repaired in a row.
type history struct {
	repairs   int
	last      time.Time // the last repair
	notBefore time.Time // the next one
	// by and deleted are what was seen of the change.
	by      string
	deleted bool
}

// pause is how long nothing is repaired after the last repair.
func (h history) pause() time.Duration {
	if h.repairs < 2 {
		return 0
	}
	if shift := h.repairs - 2; shift < 9 {
		return min(firstPause<<shift, lastPause)
	}
	return lastPause
}

// calmAt is when the repairs are forgotten if nothing changes the object before.
func (h history) calmAt() time.Time { return h.last.Add(h.pause() + calm) }

func (h *history) repaired(at time.Time) {
	if at.After(h.calmAt()) {
		h.repairs = 0
	}
	h.repairs++
	h.last = at
	h.notBefore = at.Add(h.pause())
}

// Contest is an object that somebody else changes again and again.
type Contest struct {
	Object inventory.ObjectKey
	// By is the field manager that does it, empty if that is not known.
	By string
	// Repairs counts those in a row; Next is the earliest time of the next one.
	Repairs int
	Next    time.Time
	// Deleted says that it is deleted again and again.
	Deleted bool
}

// Contests are the objects of a subject over which Muster and somebody else are at odds,
// by their names.
func (t *Tracker) Contests(name Subject) []Contest {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.subjects[name]
	if s == nil {
		return nil
	}
	now := t.options.Clock.Now()
	var out []Contest
	for key, o := range s.objects {
		if o.history.repairs < contested || !o.drifted && !o.history.calmAt().After(now) {
			continue
		}
		out = append(out, Contest{Object: key, By: o.history.by, Repairs: o.history.repairs, Next: o.history.notBefore, Deleted: o.history.deleted})
		t.wakes.after(name, o.history.calmAt().Sub(now))
	}
	slices.SortFunc(out, func(a, b Contest) int { return cmp.Compare(a.Object.String(), b.Object.String()) })
	return out
}

// Failure is why drift of a subject, or some of it, is not noticed at the moment.
func (t *Tracker) Failure(name Subject) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.subjects[name]
	if s == nil {
		return nil
	}
	errs := []error{s.unknown}
	c := t.clusters[s.cluster]
	if c == nil {
		return s.unknown
	}
	seen := map[kind]bool{}
	for _, o := range s.objects {
		if w := c.kinds[o.place.kind]; w != nil && !seen[o.place.kind] {
			seen[o.place.kind] = true
			errs = append(errs, w.err)
		}
	}
	return errors.Join(errs...)
}
