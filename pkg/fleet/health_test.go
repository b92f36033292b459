// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// look is an observation at a second of the test.
func look(second int, o outcome, message string) observation {
	return observation{finding: finding{o, message}, at: time.Unix(int64(second), 0)}
}

// checked is an observation of a healthy API server and what checks said.
func checked(second int, state CheckState, message string) observation {
	outcome := map[CheckState]outcome{
		ChecksPassed: healthy, ChecksFailed: unwell, ChecksErred: unwell, ChecksUndecided: undecided,
	}[state]
	o := look(second, outcome, message)
	o.checks = &Verdict{state, message}
	return o
}

// with is an observation that was made with a version of the credentials.
func with(o observation, credentials string) observation {
	o.credentials = credentials
	return o
}

func TestHealthFollowsObservations(t *testing.T) {
	ready := Health{Ready: true, EverReady: true}
	down := Health{EverReady: true, Down: true, Failures: 3, Message: "gone"}
	for name, test := range map[string]struct {
		known     Health
		threshold int
		seen      []observation
		want      Health
	}{
		"ready the first time after one success": {
			seen: []observation{look(0, healthy, "")},
			want: ready,
		},
		"a cluster that failed before it was ever ready needs one success, too": {
			seen: []observation{look(0, unreachable, "gone"), look(1, unreachable, "gone"), look(2, unreachable, "gone"), look(9, healthy, "")},
			want: ready,
		},
		"a check that fails is a failure": {
			known: ready,
			seen:  []observation{checked(0, ChecksFailed, "c failed"), checked(1, ChecksFailed, "c failed"), checked(2, ChecksErred, "c erred")},
			want:  Health{EverReady: true, Down: true, Failures: 3, Message: "c erred", Checks: ChecksErred, CheckMessage: "c erred"},
		},
		"checks that pass are a success": {
			seen: []observation{checked(0, ChecksFailed, "c failed"), checked(1, ChecksPassed, "")},
			want: Health{Ready: true, EverReady: true, Checks: ChecksPassed},
		},
		"a check that is undecided leaves a ready cluster ready": {
			known: Health{Ready: true, EverReady: true},
			seen:  []observation{look(0, unwell, "ill"), checked(1, ChecksUndecided, "c?"), checked(2, ChecksUndecided, "c?"), checked(3, ChecksUndecided, "c?")},
			want:  Health{Ready: true, EverReady: true, Message: "c?", Checks: ChecksUndecided, CheckMessage: "c?"},
		},
		"a check that is undecided makes no cluster ready": {
			seen: []observation{look(0, unwell, "ill"), checked(1, ChecksUndecided, "c?")},
			want: Health{Message: "c?", Checks: ChecksUndecided, CheckMessage: "c?"},
		},
		"nor one that was Down, however long": {
			known: down,
			seen:  []observation{checked(0, ChecksPassed, ""), checked(5, ChecksUndecided, "c?"), checked(11, ChecksPassed, "")},
			want:  Health{EverReady: true, Down: true, Message: "reachable again; ready when it has stayed so for 10s", Checks: ChecksPassed},
		},
		"of a cluster that does not answer nobody knows what its checks say": {
			known: Health{Ready: true, EverReady: true, Checks: ChecksPassed},
			seen:  []observation{look(0, unreachable, "gone")},
			want:  Health{Ready: true, EverReady: true, Failures: 1, Message: "gone", Checks: ChecksUndecided, CheckMessage: "not run: gone"},
		},
		"checks that were removed are forgotten": {
			known: Health{Ready: true, EverReady: true, Checks: ChecksPassed},
			seen:  []observation{look(0, healthy, "")},
			want:  ready,
		},
		"two failures are not three": {
			known: ready,
			seen:  []observation{look(0, unreachable, "gone"), look(1, unwell, "ill")},
			want:  Health{Ready: true, EverReady: true, Failures: 2, Message: "ill"},
		},
		"three are": {
			known: ready,
			seen:  []observation{look(0, unreachable, "gone"), look(1, unwell, "ill"), look(2, unreachable, "gone")},
			want:  down,
		},
		"the count stops at the threshold, so that nothing changes any more": {
			known: down,
			seen:  []observation{look(0, unreachable, "gone"), look(5, unreachable, "gone")},
			want:  down,
		},
		"a success in between starts the count anew": {
			known: ready,
			seen:  []observation{look(0, unreachable, "gone"), look(1, unreachable, "gone"), look(2, healthy, ""), look(7, unreachable, "gone")},
			want:  Health{Ready: true, EverReady: true, Failures: 1, Message: "gone"},
		},
		"the threshold is the cluster's own": {
			known: ready, threshold: 1,
			seen: []observation{look(0, unreachable, "gone")},
			want: Health{EverReady: true, Down: true, Failures: 1, Message: "gone"},
		},
		"one success does not end a Down": {
			known: down,
			seen:  []observation{look(0, healthy, "")},
			want:  Health{EverReady: true, Down: true, Message: "reachable again; ready when it has stayed so for 10s"},
		},
		"many successes in less than ten seconds do not either": {
			known: down,
			seen:  []observation{look(0, healthy, ""), look(1, healthy, ""), look(5, healthy, ""), look(9, healthy, "")},
			want:  Health{EverReady: true, Down: true, Message: "reachable again; ready when it has stayed so for 10s"},
		},
		"successes over ten seconds do": {
			known: down,
			seen:  []observation{look(0, healthy, ""), look(10, healthy, "")},
			want:  ready,
		},
		"a failure among them starts the ten seconds anew": {
			known: down,
			seen:  []observation{look(0, healthy, ""), look(5, unreachable, "gone"), look(10, healthy, ""), look(15, healthy, "")},
			want:  Health{EverReady: true, Down: true, Message: "reachable again; ready when it has stayed so for 10s"},
		},
		"refused credentials leave a ready cluster ready": {
			known: ready,
			seen:  []observation{look(0, refused, "401"), look(1, refused, "401"), look(2, refused, "401"), look(3, refused, "401")},
			want:  Health{Ready: true, EverReady: true, CredentialsInvalid: true, Message: "401"},
		},
		"and a Down one Down": {
			known: down,
			seen:  []observation{look(0, refused, "401"), look(20, refused, "401")},
			want:  Health{EverReady: true, Down: true, CredentialsInvalid: true, Failures: 3, Message: "401"},
		},
		"and one that was never ready so": {
			seen: []observation{look(0, refused, "401")},
			want: Health{CredentialsInvalid: true, Message: "401"},
		},
		"they neither count as a failure nor end the count": {
			known: ready,
			seen:  []observation{look(0, unreachable, "gone"), look(1, refused, "401"), look(2, unreachable, "gone")},
			want:  Health{Ready: true, EverReady: true, CredentialsInvalid: true, Failures: 2, Message: "gone"},
		},
		"a success proves the credentials": {
			known: Health{Ready: true, EverReady: true, CredentialsInvalid: true, Message: "401"},
			seen:  []observation{look(0, healthy, "")},
			want:  ready,
		},
		"what proves nothing changes nothing": {
			known: Health{Ready: true, EverReady: true, Failures: 0, Message: ""},
			seen:  []observation{look(0, unknown, "starved"), look(5, unknown, "starved"), look(10, unknown, "starved")},
			want:  ready,
		},
		"a restart does not make a Down cluster ready": {
			known: down,
			want:  down,
		},
		"nor count failures from before": {
			known: Health{Ready: true, EverReady: true, Failures: 2, Message: "gone"},
			seen:  []observation{look(0, unreachable, "gone")},
			want:  Health{Ready: true, EverReady: true, Failures: 1, Message: "gone"},
		},
		"credentials that a cluster accepts are remembered": {
			known: Health{Ready: true, EverReady: true, Credentials: "1"},
			seen:  []observation{with(look(0, healthy, ""), "2")},
			want:  Health{Ready: true, EverReady: true, Credentials: "2"},
		},
		"and those that it was only asked with are not": {
			known: Health{Ready: true, EverReady: true, Credentials: "1"},
			seen:  []observation{with(look(0, unreachable, "gone"), "2"), with(look(1, refused, "401"), "2")},
			want:  Health{Ready: true, EverReady: true, Credentials: "1", CredentialsInvalid: true, Failures: 1, Message: "401"},
		},
		"version and identity are kept until others are read": {
			known: Health{Ready: true, EverReady: true, Version: "v1.36.0", ID: "a"},
			seen: []observation{
				{finding: finding{outcome: healthy}, version: "v1.37.0", id: "b"},
				{finding: finding{outcome: unreachable, message: "gone"}, at: time.Unix(5, 0)},
			},
			want: Health{Ready: true, EverReady: true, Failures: 1, Message: "gone", Version: "v1.37.0", ID: "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := restore(test.known, test.threshold, 10*time.Second)
			for _, o := range test.seen {
				v.observe(o)
			}
			if diff := cmp.Diff(test.want, v.health); diff != "" {
				t.Errorf("health (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is observed, the invariants that selection relies on hold.
func TestHealthInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threshold := rapid.IntRange(1, 5).Draw(t, "threshold")
		v := restore(Health{}, threshold, 10*time.Second)
		var (
			second         int
			failures       int // consecutive, by the definition
			firstSuccess   = -1
			latestSuccess  int
			successesSince int
		)
		for range rapid.IntRange(0, 60).Draw(t, "length") {
			second += rapid.IntRange(1, 8).Draw(t, "after")
			o := rapid.SampledFrom([]outcome{unknown, throttled, healthy, healthy, unreachable, unwell, refused}).Draw(t, "outcome")
			before := v.health
			v.observe(look(second, o, "m"))
			after := v.health
			switch o {
			case healthy:
				failures = 0
				if firstSuccess < 0 {
					firstSuccess = second
				}
				latestSuccess, successesSince = second, successesSince+1
			case unreachable, unwell:
				failures++
				firstSuccess, successesSince = -1, 0
			case unknown, throttled:
				if before != after {
					t.Fatalf("an observation that proves nothing changed %+v to %+v", before, after)
				}
			case refused:
				if before.Ready != after.Ready || before.Down != after.Down || before.Failures != after.Failures {
					t.Fatalf("credentials moved %+v to %+v", before, after)
				}
			}
			switch {
			case before.EverReady && !after.EverReady:
				t.Fatal("EverReady was cleared")
			case after.Ready && !after.EverReady:
				t.Fatal("ready and never ready")
			case after.Ready && after.Down:
				t.Fatal("ready and down")
			case !before.Down && after.Down && failures < threshold:
				t.Fatalf("down after %d failures", failures)
			case failures >= threshold && !after.Down:
				t.Fatalf("not down after %d failures", failures)
			case before.Ready && !after.Ready && !after.Down:
				t.Fatal("not ready any more without being down")
			case !before.Ready && after.Ready && before.EverReady && (successesSince < 2 || latestSuccess-firstSuccess < 10):
				t.Fatalf("ready again after %d successes over %d s", successesSince, latestSuccess-firstSuccess)
			case successesSince >= 2 && latestSuccess-firstSuccess >= 10 && !after.Ready:
				t.Fatal("not ready although recovered")
			case after.Failures > threshold:
				t.Fatalf("%d failures counted", after.Failures)
			case after.Ready && after.Failures == 0 && !after.CredentialsInvalid && after.Message != "":
				t.Fatalf("nothing is wrong, and the message is %q", after.Message)
			}
		}
	})
}
