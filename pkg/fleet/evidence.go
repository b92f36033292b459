// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import "time"

// evidence is when probes, of this prober alone, showed what. It is more than
// Health: whoever moves work from one cluster to another has to know whether
// the other was well later than the one.
type evidence struct {
	// answered is when the last probe began that did not fail.
	answered time.Time
	// failing is when the first probe began of those that have failed since; zero
	// if none has.
	failing time.Time
	// well says that the last probe found the cluster healthy.
	well bool
}

// observe notes the result of a probe that began then. An answer that says nothing
// about the cluster's health is one all the same, and no reason to wait. A probe
// without an answer that was our own fault is not: a leader that is starved and cut
// off from all clusters would else take the next one for well.
func (e *evidence) observe(o outcome, began time.Time) {
	if o == unknown {
		return
	}
	e.well = o == healthy
	switch {
	case o != unreachable && o != unwell:
		e.answered, e.failing = began, time.Time{}
	case e.failing.IsZero():
		e.failing = began
	}
}

// FailingSince is when the probes of a cluster began to fail; the zero time if the
// last one did not.
func (p *Prober) FailingSince(ref Ref) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[ref]; t != nil {
		return t.evidence.failing
	}
	return time.Time{}
}

// AnsweredSince reports whether a cluster has answered a probe of this prober's
// that began no earlier than since, and none has failed after that.
func (p *Prober) AnsweredSince(ref Ref, since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[ref]
	return t != nil && t.evidence.failing.IsZero() && !t.evidence.answered.IsZero() && !t.evidence.answered.Before(since)
}

// Well reports whether the last probe found a cluster healthy. It may not be called
// ready yet, because it has not been well for long enough, or because that has not
// been stored.
func (p *Prober) Well(ref Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[ref]
	return t != nil && t.evidence.well
}
