// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"testing"
	"time"
)

func TestEvidence(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	for name, tc := range map[string]struct {
		outcomes []outcome // one each second, from 1 on
		want     evidence
	}{
		"nothing yet":            {nil, evidence{}},
		"well":                   {[]outcome{healthy, healthy}, evidence{answered: at(2), well: true}},
		"failing":                {[]outcome{healthy, unreachable, unwell}, evidence{answered: at(1), failing: at(2)}},
		"never seen well":        {[]outcome{unreachable, unreachable}, evidence{failing: at(1)}},
		"well again":             {[]outcome{unreachable, healthy}, evidence{answered: at(2), well: true}},
		"says nothing of health": {[]outcome{unreachable, refused, throttled}, evidence{answered: at(3)}},
		"says nothing":           {[]outcome{healthy, unknown}, evidence{answered: at(1), well: true}},
		"failing, as before":     {[]outcome{healthy, unreachable, unknown}, evidence{answered: at(1), failing: at(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			var got evidence
			for i, o := range tc.outcomes {
				got.observe(o, at(i+1))
			}
			if got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
			ref := Ref{Name: "a"}
			p := &Prober{targets: map[Ref]*target{ref: {evidence: got}}}
			if failing := p.FailingSince(ref); !failing.Equal(tc.want.failing) {
				t.Errorf("failing since %s", failing)
			}
			answered := !tc.want.answered.IsZero() && tc.want.failing.IsZero()
			if p.AnsweredSince(ref, time.Time{}) != answered || p.AnsweredSince(ref, tc.want.answered) != answered {
				t.Errorf("answered: %t", !answered)
			}
			if p.Well(ref) != tc.want.well || p.Well(Ref{Name: "b"}) {
				t.Errorf("well: %t", !tc.want.well)
			}
			if p.AnsweredSince(ref, at(100)) || p.AnsweredSince(Ref{Name: "b"}, time.Time{}) {
				t.Error("answered what it cannot have")
			}
		})
	}
}
