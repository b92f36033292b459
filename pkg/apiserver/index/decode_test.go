// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package index

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/selection"
)

func clusterNamed(namespace, name string) fleet.Ref {
	return fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: namespace, Name: name}
}

func conditions(conditionType string, status metav1.ConditionStatus) []metav1.Condition {
	return []metav1.Condition{{Type: conditionType, Status: status, Reason: "Test"}}
}

func TestMember(t *testing.T) {
	now := metav1.Now()
	object := metav1.ObjectMeta{Namespace: "civo", Name: "c1", UID: "u", Labels: map[string]string{"env": "prod"}}
	deleting := object
	deleting.DeletionTimestamp = &now
	base := fleet.Member{Ref: clusterNamed("civo", "c1"), UID: "u", Labels: object.Labels}
	with := func(change func(*fleet.Member)) fleet.Member {
		m := base
		change(&m)
		return m
	}
	tests := map[string]struct {
		cluster lib.SveltosCluster
		want    fleet.Member
	}{
		"new": {cluster: lib.SveltosCluster{ObjectMeta: object}, want: base},
		"ready": {
			cluster: lib.SveltosCluster{ObjectMeta: object, Status: lib.SveltosClusterStatus{
				Ready: true, Conditions: conditions(v1beta1.ConditionHasBeenReady, metav1.ConditionTrue),
			}},
			want: with(func(m *fleet.Member) { m.Ready, m.EverReady = true, true }),
		},
		"down": {
			cluster: lib.SveltosCluster{ObjectMeta: object, Status: lib.SveltosClusterStatus{
				Conditions: conditions(v1beta1.ConditionHasBeenReady, metav1.ConditionTrue),
			}},
			want: with(func(m *fleet.Member) { m.EverReady = true }),
		},
		"paused":   {cluster: lib.SveltosCluster{ObjectMeta: object, Spec: lib.SveltosClusterSpec{Paused: true}}, want: with(func(m *fleet.Member) { m.Paused = true })},
		"deleting": {cluster: lib.SveltosCluster{ObjectMeta: deleting}, want: with(func(m *fleet.Member) { m.Deleting = true })},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := member(&test.cluster)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("member (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetState(t *testing.T) {
	meta := &metav1.ObjectMeta{Namespace: "civo", Name: "s"}
	spec := &lib.ClusterSetSpec{
		ClusterSelector: lib.Selector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
		ClusterRefs: []corev1.ObjectReference{
			// A reference means the same at every version, and a Set's needs no
			// namespace.
			{APIVersion: "lib.projectsveltos.io/v1alpha1", Kind: "SveltosCluster", Namespace: "civo", Name: "named"},
			{APIVersion: "lib.projectsveltos.io/v1beta1", Kind: "SveltosCluster", Name: "nearby"},
		},
		MaxReplicas: 2,
	}
	status := &lib.ClusterSetStatus{
		SelectedClusterRefs:  []corev1.ObjectReference{{APIVersion: "lib.projectsveltos.io/v1beta1", Kind: "SveltosCluster", Namespace: "civo", Name: "active"}},
		SelectedClusterCount: 1,
		Conditions:           conditions(v1beta1.ConditionFailoverHalted, metav1.ConditionTrue),
	}
	got, err := setState(selection.KindSet, meta, spec, status)
	if err != nil {
		t.Fatal(err)
	}
	if got.Spec.Selector.String() != "env=prod" {
		t.Errorf("selector is %s", got.Spec.Selector)
	}
	got.Spec.Selector = nil
	want := selection.SetState{
		Spec: selection.Spec{
			Set:         selection.SetKey{Kind: "Set", Namespace: "civo", Name: "s"},
			Refs:        []fleet.Ref{clusterNamed("civo", "named"), clusterNamed("civo", "nearby")},
			MaxReplicas: 2,
			Halted:      true,
		},
		Stored: selection.Stored{Selected: []fleet.Ref{clusterNamed("civo", "active")}, Count: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
}

func TestSelectors(t *testing.T) {
	anything := labels.Set{"env": "prod"}
	empty, err := setState(selection.KindClusterSet, &metav1.ObjectMeta{}, &lib.ClusterSetSpec{}, &lib.ClusterSetStatus{})
	if err != nil {
		t.Fatal(err)
	}
	if empty.Spec.Selector.Matches(anything) || empty.Spec.Halted {
		t.Error("an empty selector matches, or the brake is on without a condition")
	}
	for name, selector := range map[string]lib.Selector{
		"unparsed": {Raw: "env in ("},
		"invalid": {LabelSelector: metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Near"}},
		}},
	} {
		if _, err := setState(selection.KindClusterSet, &metav1.ObjectMeta{Name: "s"}, &lib.ClusterSetSpec{ClusterSelector: selector}, &lib.ClusterSetStatus{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSummary(t *testing.T) {
	now := metav1.Now()
	spec := config.ClusterSummarySpec{
		ClusterNamespace: "civo", ClusterName: "c1", ClusterType: lib.ClusterTypeSveltos,
		MatchedBy: []config.MatchCause{
			{Kind: config.MatchCauseClusterSet, Name: "prod"},
			{Kind: config.MatchCauseSet, Name: "local"},
			{Kind: config.MatchCauseSelector},
		},
	}
	causes := []selection.SetKey{{Kind: "ClusterSet", Name: "prod"}, {Kind: "Set", Namespace: "civo", Name: "local"}, {Kind: "Selector"}}
	withdrawn, capi := spec, spec
	withdrawn.Withdraw = true
	capi.ClusterType = lib.ClusterTypeCapi
	name := types.NamespacedName{Namespace: "civo", Name: "p"}
	tests := map[string]struct {
		summary config.ClusterSummary
		want    selection.Summary
	}{
		"deployed": {
			summary: config.ClusterSummary{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "p"}, Spec: spec},
			want:    selection.Summary{NamespacedName: name, Cluster: clusterNamed("civo", "c1"), Causes: causes},
		},
		"being deleted": {
			summary: config.ClusterSummary{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "p", DeletionTimestamp: &now}, Spec: spec},
			want:    selection.Summary{NamespacedName: name, Cluster: clusterNamed("civo", "c1"), Causes: causes, Deleting: true},
		},
		"about to be": {
			summary: config.ClusterSummary{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "p"}, Spec: withdrawn},
			want:    selection.Summary{NamespacedName: name, Cluster: clusterNamed("civo", "c1"), Causes: causes, Deleting: true},
		},
		"of another kind of cluster": {
			summary: config.ClusterSummary{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "p"}, Spec: capi},
			want: selection.Summary{
				NamespacedName: name, Causes: causes,
				Cluster: fleet.Ref{Group: "cluster.x-k8s.io", Kind: "Cluster", Namespace: "civo", Name: "c1"},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := summary(&test.summary)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}
