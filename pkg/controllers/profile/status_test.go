// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// withReady is a summary whose deployment is as far as the condition says.
func withReady(cluster string, status metav1.ConditionStatus, reason, message string) configv1beta1.ClusterSummary {
	summary := summaryBy(cluster, false, cause(bySet, "prod"))
	summary.Generation = 1
	meta.SetStatusCondition(&summary.Status.Conditions, metav1.Condition{
		Type: configv1beta1.ConditionReady, Status: status, Reason: reason, Message: message, ObservedGeneration: 1,
	})
	return summary
}

func matched(names ...string) matching {
	var m matching
	for _, name := range names {
		m.clusters = append(m.clusters, match{member: ready(name)})
	}
	return m
}

func TestReady(t *testing.T) {
	done := withReady("a", metav1.ConditionTrue, configv1beta1.ReasonProvisioned, "")
	failed := withReady("b", metav1.ConditionFalse, configv1beta1.ReasonFailed, "chart not found")
	withdrawing := withReady("c", metav1.ConditionFalse, configv1beta1.ReasonWithdrawing, "")
	withdrawing.Spec.Withdraw = true
	stale := withReady("a", metav1.ConditionTrue, configv1beta1.ReasonProvisioned, "")
	stale.Generation = 2

	tests := []struct {
		name      string
		m         matching
		summaries []configv1beta1.ClusterSummary
		want      string
		message   string
	}{
		{name: "nothing matches", want: "False/NoMatchingClusters"},
		{name: "all there", m: matched("a"), summaries: []configv1beta1.ClusterSummary{done}, want: "True/Provisioned", message: "1 of 1"},
		{name: "no summary yet", m: matched("a"), want: "False/Provisioning", message: "0 of 1"},
		{name: "the summary is of an older spec", m: matched("a"), summaries: []configv1beta1.ClusterSummary{stale}, want: "False/Provisioning"},
		{name: "one failed", m: matched("a", "b"), summaries: []configv1beta1.ClusterSummary{done, failed}, want: "False/Failed", message: "chart not found"},
		{
			name: "a dead cluster that is withdrawn from holds nobody up",
			m:    matched("a"), summaries: []configv1beta1.ClusterSummary{done, withdrawing}, want: "True/Withdrawing", message: "1 are being withdrawn",
		},
		{name: "being withdrawn from the last", summaries: []configv1beta1.ClusterSummary{withdrawing}, want: "True/Withdrawing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := readyCondition(test.m, test.summaries, nil)
			if s := string(got.Status) + "/" + got.Reason; s != test.want || !strings.Contains(got.Message, test.message) {
				t.Errorf("condition is %s %q, want %s with %q", s, got.Message, test.want, test.message)
			}
		})
	}
}

func TestStatusListsAreBoundedAndCountsAreNot(t *testing.T) {
	var names []string
	for i := range maxListed + 7 {
		names = append(names, fmt.Sprintf("c%04d", i))
	}
	p := ofClusterProfile(&configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "kyverno", Generation: 3}})
	status := desiredStatus(p, matched(names...), nil, nil)
	if len(status.MatchingClusters) != maxListed || status.MatchingClusterCount != int32(len(names)) || status.ObservedGeneration != 3 {
		t.Errorf("%d listed, %d counted, generation %d; want %d, %d, 3",
			len(status.MatchingClusters), status.MatchingClusterCount, status.ObservedGeneration, maxListed, len(names))
	}
}

func TestFailedClustersAreNamedInOrder(t *testing.T) {
	summaries := []configv1beta1.ClusterSummary{
		withReady("b", metav1.ConditionFalse, configv1beta1.ReasonConflict, "owned by another"),
		withReady("a", metav1.ConditionFalse, configv1beta1.ReasonSourceMissing, "no such ConfigMap"),
		withReady("c", metav1.ConditionFalse, configv1beta1.ReasonProvisioning, ""),
	}
	got := map[string]string{}
	var order []string
	for _, failed := range failedClusters(summaries) {
		order = append(order, failed.ClusterRef.Name)
		got[failed.ClusterRef.Name] = failed.FailureMessage
	}
	if diff := cmp.Diff([]string{"a", "b"}, order); diff != "" {
		t.Errorf("failed clusters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "no such ConfigMap", "b": "owned by another"}, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestUnresolvedIsSaid(t *testing.T) {
	p := ofClusterProfile(&configv1beta1.ClusterProfile{})
	status := desiredStatus(p, matching{unresolvedSets: []string{"prod"}, missingClusters: []string{"civo/gone"}}, nil, nil)
	for conditionType, name := range map[string]string{
		configv1beta1.ConditionSetsResolved: "prod", configv1beta1.ConditionClustersResolved: "civo/gone",
	} {
		condition := meta.FindStatusCondition(status.Conditions, conditionType)
		if condition == nil || condition.Status != metav1.ConditionFalse || !strings.Contains(condition.Message, name) {
			t.Errorf("condition %s is %v, want it false with %s in it", conditionType, condition, name)
		}
	}
	resolved := desiredStatus(p, matching{}, nil, nil)
	if !meta.IsStatusConditionTrue(resolved.Conditions, configv1beta1.ConditionSetsResolved) {
		t.Error("a profile that names no sets has unresolved ones")
	}
}

func TestOneTimeKeepsItsRevision(t *testing.T) {
	current := func(mode configv1beta1.SyncMode, status metav1.ConditionStatus) *configv1beta1.ClusterSummary {
		s := withReady("a", status, configv1beta1.ReasonProvisioned, "")
		s.Spec.ProfileRevision = "old"
		s.Spec.ClusterProfileSpec.SyncMode = mode
		return &s
	}
	tests := []struct {
		name    string
		profile configv1beta1.SyncMode
		current *configv1beta1.ClusterSummary
		want    string
	}{
		{"Continuous follows", configv1beta1.SyncModeContinuous, current(configv1beta1.SyncModeContinuous, metav1.ConditionTrue), "new"},
		{"OneTime, deployed: frozen", configv1beta1.SyncModeOneTime, current(configv1beta1.SyncModeOneTime, metav1.ConditionTrue), "old"},
		{"OneTime, not deployed yet: follows", configv1beta1.SyncModeOneTime, current(configv1beta1.SyncModeOneTime, metav1.ConditionFalse), "new"},
		{"became OneTime: once more", configv1beta1.SyncModeOneTime, current(configv1beta1.SyncModeContinuous, metav1.ConditionTrue), "new"},
		{"was OneTime: follows again", configv1beta1.SyncModeContinuous, current(configv1beta1.SyncModeOneTime, metav1.ConditionTrue), "new"},
		{"first time", configv1beta1.SyncModeOneTime, nil, "new"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := ofClusterProfile(&configv1beta1.ClusterProfile{
				ObjectMeta: metav1.ObjectMeta{Name: "kyverno", UID: "uid"}, Spec: configv1beta1.ProfileSpec{SyncMode: test.profile},
			})
			summary := desiredSummary(p, match{member: ready("a"), causes: []configv1beta1.MatchCause{cause(bySel, "")}}, "new", test.current)
			if summary.Spec.ProfileRevision != test.want {
				t.Errorf("revision is %q, want %q", summary.Spec.ProfileRevision, test.want)
			}
			if owner := metav1.GetControllerOf(summary); owner == nil || owner.UID != "uid" || owner.Kind != "ClusterProfile" {
				t.Errorf("owner is %v, want the ClusterProfile", owner)
			}
		})
	}
}

func TestManyLongFailuresFitIntoAnObject(t *testing.T) {
	var summaries []configv1beta1.ClusterSummary
	for i := range 2 * maxListed {
		summaries = append(summaries, withReady(fmt.Sprintf("cluster%04d", i), metav1.ConditionFalse, configv1beta1.ReasonFailed, strings.Repeat("x", 4096)))
	}
	failed := failedClusters(summaries)
	size := 0
	for _, f := range failed {
		size += len(f.FailureMessage)
	}
	if len(failed) != maxListed || size > 512<<10 {
		t.Errorf("%d failed clusters say %d bytes, want %d that leave room in an object", len(failed), size, maxListed)
	}
}
