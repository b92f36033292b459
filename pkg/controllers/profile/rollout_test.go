// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// at is a cluster whose summary has a revision and is as far as the reason says, for some
// time.
func at(name, revision string, status metav1.ConditionStatus, reason string, since time.Duration) candidate {
	summary := summaryBy(name, false)
	summary.Generation = 1
	summary.Spec.ProfileRevision = revision
	summary.Status.Conditions = []metav1.Condition{{
		Type: configv1beta1.ConditionReady, Status: status, Reason: reason, ObservedGeneration: 1,
		LastTransitionTime: metav1.NewTime(noon.Add(-since)),
	}}
	return candidate{ref: clusterref.Of("civo", name), summary: &summary, updatable: true}
}

func done(name, revision string) candidate {
	return at(name, revision, metav1.ConditionTrue, configv1beta1.ReasonProvisioned, time.Hour)
}

func working(name string) candidate {
	return at(name, "new", metav1.ConditionFalse, configv1beta1.ReasonProvisioning, time.Hour)
}

func failing(name string, since time.Duration) candidate {
	return at(name, "new", metav1.ConditionFalse, configv1beta1.ReasonFailed, since)
}

func fresh(name string) candidate {
	return candidate{ref: clusterref.Of("civo", name), updatable: true}
}

func (c candidate) with(change func(*candidate)) candidate {
	change(&c)
	return c
}

func away(c *candidate)    { c.updatable = false }
func standIn(c *candidate) { c.standIn = true }

func names(refs []fleet.Ref) string {
	var out []string
	for _, ref := range refs {
		out = append(out, ref.Name)
	}
	return strings.Join(out, " ")
}

func TestPlanRollout(t *testing.T) {
	waiting := at("d", "new", metav1.ConditionFalse, configv1beta1.ReasonWaitingForPrerequisites, time.Hour)
	for name, tc := range map[string]struct {
		candidates              []candidate
		limit, replaced         int
		updating, updated, held string
		again                   time.Duration
	}{
		"the first deployment": {[]candidate{fresh("a"), fresh("b"), fresh("c")}, 2, 0, "a b", "", "c", 0},
		"a new revision":       {[]candidate{done("a", "old"), done("b", "old"), done("c", "old")}, 1, 0, "a", "", "b c", 0},
		"a place is free":      {[]candidate{done("a", "new"), done("b", "old"), done("c", "old")}, 1, 0, "b", "a", "c", 0},
		"no place is free":     {[]candidate{working("a"), done("b", "old")}, 1, 0, "a", "", "b", 0},
		"all at once":          {[]candidate{done("a", "old"), fresh("b")}, 9, 0, "a b", "", "", 0},
		"clusters that are away or paused are passed over": {
			[]candidate{done("a", "old").with(away), fresh("b").with(away), done("c", "old")}, 1, 0, "c", "", "a b", 0,
		},
		"one that went away meanwhile takes up no place": {[]candidate{working("a").with(away), done("b", "old")}, 1, 0, "a b", "", "", 0},
		"nor one that waits for others":                  {[]candidate{waiting, done("b", "old")}, 1, 0, "d b", "", "", 0},
		"the first to fail keeps its place for a while":  {[]candidate{failing("a", time.Minute), done("b", "old")}, 1, 0, "a", "", "b", 4 * time.Minute},
		"and not for ever":                               {[]candidate{failing("a", 6*time.Minute), done("b", "old"), done("c", "old")}, 1, 0, "a b", "", "c", 0},
		"where others have it one that fails is passed":  {[]candidate{failing("a", time.Second), done("b", "new"), done("c", "old"), done("d", "old")}, 1, 0, "a c", "b", "d", 0},
		"a stand-in waits for nothing":                   {[]candidate{working("a"), fresh("b").with(standIn), fresh("c").with(standIn)}, 1, 1, "a", "", "c", 0},
		"what is frozen stays":                           {[]candidate{done("a", "old").with(func(c *candidate) { c.frozen = true }), done("b", "old")}, 1, 0, "b", "a", "", 0},
		"what is frozen proves nothing": {
			[]candidate{done("a", "old").with(func(c *candidate) { c.frozen = true }), failing("b", time.Minute), done("c", "old")}, 1, 0, "b", "a", "c", 4 * time.Minute,
		},
		"a withdrawal takes up no place": {
			[]candidate{done("a", "new").with(func(c *candidate) { c.summary.Spec.Withdraw = true }), done("b", "old")}, 1, 0, "b", "", "", 0,
		},
		"a status of an older spec says nothing": {
			[]candidate{done("a", "new").with(func(c *candidate) { c.summary.Generation = 2 }), done("b", "old")}, 1, 0, "a", "", "b", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan, held := planRollout(tc.candidates, "new", tc.limit, tc.replaced, noon)
			var waits []string
			for ref := range held {
				waits = append(waits, ref.Name)
			}
			slices.Sort(waits)
			got := fmt.Sprintf("updating %s, updated %s, held %s, again %s", names(plan.updating), names(plan.updated), strings.Join(waits, " "), plan.again)
			want := fmt.Sprintf("updating %s, updated %s, held %s, again %s", tc.updating, tc.updated, tc.held, tc.again)
			if got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	for _, tc := range []struct {
		value *intstr.IntOrString
		of    int
		want  int
	}{
		{nil, 10, 0},
		{ptr.To(intstr.FromInt32(0)), 10, 0},
		{ptr.To(intstr.FromInt32(3)), 10, 3},
		{ptr.To(intstr.FromString("3")), 10, 3},
		{ptr.To(intstr.FromString("25%")), 10, 3}, // rounded up
		{ptr.To(intstr.FromString("1%")), 10, 1},
		{ptr.To(intstr.FromString("0%")), 10, 0},
		{ptr.To(intstr.FromString("100%")), 10, 10},
	} {
		if got, err := limitOf(tc.value, tc.of); err != nil || got != tc.want {
			t.Errorf("%v of %d: %d, %v, want %d", tc.value, tc.of, got, err, tc.want)
		}
	}
}

// A revision goes from cluster to cluster, whoever leads, and past one that fails.
func TestARevisionGoesAllTheWay(t *testing.T) {
	key := Key{Kind: configv1beta1.KindClusterProfile, Name: "web"}
	p := everywhere("web")
	p.Spec.MaxUpdate = ptr.To(intstr.FromInt32(1))
	clusters := fleetOf{"a", "b", "c", "d"}
	objects := []client.Object{p}
	for _, name := range clusters {
		objects = append(objects, &libv1beta1.SveltosCluster{
			ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name}, Status: libv1beta1.SveltosClusterStatus{Ready: true},
		})
	}
	_, stored := newReconciler(t, clusters, objects...)
	now := noon
	var began []string
	for range 20 {
		r, _ := newReconciler(t, clusters) // a new leader each time
		r.Client, r.Live, r.Now = stored, stored, func() time.Time { return now }
		if _, err := r.Reconcile(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		list := &configv1beta1.ClusterSummaryList{}
		if err := stored.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		unfinished := 0
		for i := range list.Items {
			s := &list.Items[i]
			if s.Status.ObservedGeneration != 0 {
				continue
			}
			unfinished++
			began = append(began, s.Spec.ClusterName)
			s.Status.ObservedGeneration = 1
			s.Status.Conditions = []metav1.Condition{{Type: configv1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: configv1beta1.ReasonProvisioned, LastTransitionTime: metav1.NewTime(now)}}
			if s.Spec.ClusterName == "b" {
				s.Status.Conditions[0].Status, s.Status.Conditions[0].Reason = metav1.ConditionFalse, configv1beta1.ReasonFailed
			}
			if err := stored.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if unfinished > 1 {
			t.Fatalf("%d clusters began at once: %q", unfinished, began)
		}
		now = now.Add(time.Second)
	}
	if got := strings.Join(began, " "); got != "a b c d" {
		t.Errorf("it went to %s, want all four", got)
	}
	if err := stored.Get(t.Context(), types.NamespacedName{Name: "web"}, p); err != nil {
		t.Fatal(err)
	}
	if len(p.Status.UpdatedClusters.Clusters) != 3 || len(p.Status.UpdatingClusters.Clusters) != 1 || len(p.Status.FailedClusters) != 1 ||
		len(p.Status.UpdatedClusters.Hash) == 0 {
		t.Errorf("the status is %+v", p.Status)
	}
}
