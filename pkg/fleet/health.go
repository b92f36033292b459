// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import "time"

// DefaultFailureThreshold is how many consecutive failures make a cluster
// Down.
const DefaultFailureThreshold = 3

// recoverySuccesses is how many successes make a cluster that was ready
// before ready again; ProberOptions.Recovery is how far the first and the last
// of them are apart at least.
const recoverySuccesses = 2

// Health is what is known of how a cluster is. It is comparable, and holds
// nothing that changes while the cluster's state does not: no times, no
// counters that run on. Whoever stores it writes when it changes, and hands it
// back as Target.Health after a restart.
type Health struct {
	// Ready: Muster reaches the cluster. It becomes true with the first
	// success ever, false when Down, and true again after successes over some
	// time.
	Ready bool
	// EverReady: Ready was true once. Never cleared.
	EverReady bool
	// Down: as many consecutive failures as the threshold says, and no full
	// recovery since.
	Down bool
	// CredentialsInvalid: the kubeconfig cannot be used, or the cluster
	// refuses it. That proves nothing about the cluster's health and moves
	// neither Ready nor Down nor Failures.
	CredentialsInvalid bool
	// Credentials is the version of the credentials that the cluster accepted
	// last, as CredentialSource gave it; empty until known.
	Credentials string
	// Failures counts consecutive failures, up to the threshold.
	Failures int
	// Checks is what the cluster's own checks came to, and CheckMessage why, with the
	// check's name in it; both are empty if there are none.
	Checks       CheckState
	CheckMessage string
	// Message says what is wrong, for users; empty if nothing is. Equal
	// causes have equal messages.
	Message string
	// Version is the Kubernetes version, "v1.37.0"; empty until known.
	Version string
	// ID is the cluster's identity; empty until known. What its change means
	// is for the reader to decide.
	ID ClusterID
}

// observation is one probe's result.
type observation struct {
	finding
	// at is when the probe was due: the schedule and not the moment, so that
	// time spans are exact whatever the load.
	at time.Time
	// checks is what the cluster's own checks came to; nil if they were not run.
	checks *Verdict
	// credentials is the version of those that the cluster was asked with.
	credentials string
	// unasked: there are no credentials to ask the cluster with.
	unasked bool
	// version and id are empty if they weren't asked for, or not answered.
	version string
	id      ClusterID
}

// vitals is the state machine behind Health: pure, without a clock.
type vitals struct {
	health    Health
	threshold int           // consecutive failures to Down
	recovery  time.Duration // how long a recovery takes at least
	// successes counts consecutive ones since the last failure, the first of
	// them at since. Neither outlives a restart, which so only prolongs a
	// recovery.
	successes int
	since     time.Time
}

// restore returns the state machine of a cluster of which something is known
// from before. Failures from before are not consecutive to what is seen now.
func restore(known Health, threshold int, recovery time.Duration) vitals {
	if threshold <= 0 {
		threshold = DefaultFailureThreshold
	}
	if !known.Down {
		known.Failures = 0
	}
	return vitals{health: known, threshold: threshold, recovery: recovery}
}

// observe takes a probe's result into account.
func (v *vitals) observe(o observation) {
	if o.version != "" {
		v.health.Version = o.version
	}
	if o.id != "" {
		v.health.ID = o.id
	}
	v.note(o)
	switch o.outcome {
	case healthy:
		v.succeed(o.at)
		if o.credentials != "" {
			v.health.Credentials = o.credentials
		}
	case undecided:
		v.abstain(o)
	case unreachable, unwell:
		v.fail(o.message)
	case refused:
		v.health.CredentialsInvalid = true
		v.health.Message = o.message
	case unknown, throttled:
	}
}

// note keeps what the checks came to. While the API server does not answer as it should
// nothing is known of them.
func (v *vitals) note(o observation) {
	h := &v.health
	switch {
	case o.checks != nil:
		h.Checks, h.CheckMessage = o.checks.State, o.checks.Message
	case o.outcome == healthy:
		h.Checks, h.CheckMessage = ChecksNone, ""
	case h.Checks != ChecksNone && (o.outcome == unreachable || o.outcome == unwell):
		h.Checks, h.CheckMessage = ChecksUndecided, "not run: "+o.message
	}
}

// abstain takes a probe into account that found the API server well and could not find
// out what the cluster's checks say: a cluster that is ready stays so, and another does
// not become it.
func (v *vitals) abstain(o observation) {
	h := &v.health
	if h.Ready {
		v.succeed(o.at)
	} else {
		v.successes = 0
		h.CredentialsInvalid = false
		if !h.Down {
			h.Failures = 0
		}
	}
	h.Message = o.message
}

func (v *vitals) succeed(at time.Time) {
	if v.successes == 0 {
		v.since = at
	}
	v.successes++
	h := &v.health
	h.CredentialsInvalid = false
	h.Failures = 0
	if !h.Ready && !v.recovered(at) {
		h.Message = "reachable again; ready when it has stayed so for " + v.recovery.String()
		return
	}
	h.Ready, h.EverReady, h.Down, h.Message = true, true, false, ""
}

// recovered reports whether the successes suffice. A cluster that has never
// been ready has nothing to recover from.
func (v *vitals) recovered(at time.Time) bool {
	return !v.health.EverReady || v.successes >= recoverySuccesses && at.Sub(v.since) >= v.recovery
}

func (v *vitals) fail(message string) {
	v.successes = 0
	h := &v.health
	h.Message = message
	h.Failures = min(h.Failures+1, v.threshold)
	if h.Failures >= v.threshold {
		h.Ready, h.Down = false, true
	}
}

// urgent reports whether failures have begun and not yet led to a verdict: the
// next probe must come soon.
func (v *vitals) urgent() bool {
	return v.health.Failures > 0 && !v.health.Down
}
