// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

// probed is evidence: when clusters began to fail, when they last answered, and
// which of them was well then.
type probed struct {
	failing, answered map[string]time.Time
	well              []string
	asked             []string
}

func (p *probed) FailingSince(ref fleet.Ref) time.Time { return p.failing[ref.Name] }

func (p *probed) AnsweredSince(ref fleet.Ref, since time.Time) bool {
	at, ok := p.answered[ref.Name]
	return ok && !at.Before(since)
}

func (p *probed) Well(ref fleet.Ref) bool { return slices.Contains(p.well, ref.Name) }

func (p *probed) ProbeNow(ref fleet.Ref) { p.asked = append(p.asked, ref.Name) }

func TestWhoTakesAPlaceHasToHaveAnswered(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	for name, tc := range map[string]struct {
		previous, selected []string
		want               time.Duration
		asked              []string
	}{
		"nothing changes":                  {[]string{"down"}, []string{"down"}, 0, nil},
		"a place that nobody had":          {nil, []string{"before"}, 0, nil},
		"one more":                         {[]string{"down"}, []string{"down", "before"}, 0, nil},
		"last heard of before":             {[]string{"down"}, []string{"before"}, confirmPause, []string{"before"}},
		"heard of since":                   {[]string{"down"}, []string{"between"}, 0, nil},
		"never heard of in this term":      {[]string{"gone"}, []string{"silent"}, confirmPause, []string{"silent"}},
		"the latest failure counts":        {[]string{"down", "down-later"}, []string{"between", "after"}, confirmPause, []string{"between"}},
		"who stays needs no proof":         {[]string{"down", "before"}, []string{"before", "after"}, 0, nil},
		"a label went, and all are well":   {[]string{"gone"}, []string{"before"}, 0, nil},
		"fewer places":                     {[]string{"back", "before"}, []string{"before"}, 0, nil},
		"who is well matches no longer":    {[]string{"ready"}, []string{"after"}, 0, nil},
		"everything is taken away at once": {[]string{"down"}, nil, 0, nil},
		"who answers again keeps it":       {[]string{"back"}, []string{"after"}, recoveryPause, nil},
		"who answers again takes it":       {[]string{"down"}, []string{"back"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := &probed{
				failing:  map[string]time.Time{"down": at(10), "down-later": at(20)},
				answered: map[string]time.Time{"before": at(9), "between": at(15), "after": at(21), "back": at(22)},
				well:     []string{"back", "ready"},
			}
			var previous []corev1.ObjectReference
			for _, n := range tc.previous {
				previous = append(previous, clusterref.Object(clusterref.Of("fleet", n)))
			}
			var result selection.Result
			for _, n := range tc.previous {
				if !slices.Contains(append(tc.selected, "ready", "gone"), n) {
					result.Dropped = append(result.Dropped, clusterref.Of("fleet", n))
				}
			}
			for _, n := range tc.selected {
				result.Selected = append(result.Selected, clusterref.Of("fleet", n))
			}
			if got := (&Reconciler{Evidence: evidence}).postpone(previous, result); got != tc.want {
				t.Errorf("wait %s, want %s", got, tc.want)
			}
			if diff := cmp.Diff(tc.asked, evidence.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}
