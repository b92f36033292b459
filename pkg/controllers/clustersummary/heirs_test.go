// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

func TestWithdrawalsWaitForThoseWhoMayWantIt(t *testing.T) {
	profile := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	leaving, other, withdrawn := summaryFor("old"), summaryFor("new"), summaryFor("third")
	leaving.Spec.Withdraw, withdrawn.Spec.Withdraw = true, true
	first, later := metav1.NewTime(noon.Add(-time.Hour)), metav1.NewTime(noon)
	leaving.DeletionTimestamp, withdrawn.DeletionTimestamp = &later, &later
	returning := summaryFor("fourth")
	returning.Spec.Withdraw, returning.DeletionTimestamp = true, &first
	paused := registration()
	paused.Spec.Paused = true
	print, err := fingerprint(other, registration())
	if err != nil {
		t.Fatal(err)
	}
	heard, heardBefore := outcome{uid: other.UID, fingerprint: print}, outcome{uid: other.UID, fingerprint: "another"}
	for name, tc := range map[string]struct {
		objects []client.Object
		last    *outcome
		waited  time.Duration
		paused  bool
		want    time.Duration
	}{
		"it does not match any more":         {objects: []client.Object{profile}, want: heirGrace},
		"for half of the time":               {objects: []client.Object{profile}, waited: heirGrace / 2, want: heirGrace / 2},
		"nobody has come":                    {objects: []client.Object{profile}, waited: heirGrace},
		"its profile is gone":                {},
		"another one was not asked yet":      {objects: []client.Object{other}, want: heirPause},
		"another one is out of date":         {objects: []client.Object{other}, last: &heardBefore, want: heirPause},
		"another one has said what it wants": {objects: []client.Object{other}, last: &heard},
		"another one is withdrawn as well":   {objects: []client.Object{withdrawn}},
		"another one does not come to it":    {objects: []client.Object{profile, other}, waited: heirPatience},
		"another one may come back":          {objects: []client.Object{returning}, want: heirPause},
		"nothing is deployed there":          {objects: []client.Object{profile, other}, paused: true},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			r := New(Options{Client: newClient(t, append(tc.objects, leaving)...), Now: func() time.Time { return now }})
			if tc.last != nil {
				r.memory.end(client.ObjectKeyFromObject(other), *tc.last)
			}
			cluster := registration()
			if tc.paused {
				cluster = paused
			}
			if _, err := r.awaitHeirs(t.Context(), leaving, cluster); err != nil {
				t.Fatal(err)
			}
			now = now.Add(tc.waited)
			got, err := r.awaitHeirs(t.Context(), leaving, cluster)
			if err != nil || got != tc.want {
				t.Errorf("waits %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

// A profile has no second summary before its first one is gone, so that it may want
// what is about to be withdrawn although nothing says so yet.
func TestAWithdrawalBehindAnotherGivesItsProfileTime(t *testing.T) {
	profile := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	leaving, first := summaryFor("old"), summaryFor("new")
	leaving.Spec.Withdraw, first.Spec.Withdraw = true, true
	earlier, later := metav1.NewTime(noon.Add(-time.Hour)), metav1.NewTime(noon)
	leaving.DeletionTimestamp, first.DeletionTimestamp = &later, &earlier
	now := noon
	both, alone := newClient(t, profile, leaving, first), newClient(t, profile, leaving)
	r := New(Options{Client: both, Now: func() time.Time { return now }})
	for _, step := range []struct {
		after  time.Duration
		client client.Client
		want   time.Duration
	}{{0, both, heirGrace}, {heirGrace, both, heirPause}, {heirPause, alone, heirGrace - heirPause}, {heirGrace, alone, 0}} {
		now, r.Client = now.Add(step.after), step.client
		if got, err := r.awaitHeirs(t.Context(), leaving, registration()); err != nil || got != step.want {
			t.Errorf("%s later it waits %s, %v; want %s", step.after, got, err, step.want)
		}
	}
}

// A job that was queued as a deployment finds that it is to withdraw: it does not do so
// before others could say what they want.
func TestAJobThatHasBecomeAWithdrawalWaitsToo(t *testing.T) {
	profile := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	leaving := summaryFor("old")
	leaving.Spec.Withdraw = true
	now := noon
	r := New(Options{Client: newClient(t, profile, leaving), Now: func() time.Time { return now }})
	f := &flow{summary: leaving, cluster: registration()}
	if _, err := r.mayBegin(t.Context(), f, "", true); !errors.Is(err, errHeld) {
		t.Errorf("it begins at once: %v", err)
	}
	now = now.Add(heirGrace)
	if _, err := r.mayBegin(t.Context(), f, "", true); err != nil {
		t.Errorf("it does not begin when nobody has come: %v", err)
	}
}
