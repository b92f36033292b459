// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

const (
	bySet  = configv1beta1.MatchCauseClusterSet
	bySel  = configv1beta1.MatchCauseSelector
	byName = configv1beta1.MatchCauseReference
)

func ready(name string) fleet.Member {
	return fleet.Member{Ref: clusterref.Of("civo", name), Ready: true, EverReady: true}
}

func cause(kind configv1beta1.MatchCauseKind, name string) configv1beta1.MatchCause {
	return configv1beta1.MatchCause{Kind: kind, Name: name}
}

func lookup(members ...fleet.Member) func(fleet.Ref) (fleet.Member, bool) {
	byRef := map[fleet.Ref]fleet.Member{}
	for _, m := range members {
		byRef[m.Ref] = m
	}
	return func(ref fleet.Ref) (fleet.Member, bool) {
		m, ok := byRef[ref]
		return m, ok
	}
}

func summaryBy(cluster string, withdraw bool, causes ...configv1beta1.MatchCause) configv1beta1.ClusterSummary {
	return configv1beta1.ClusterSummary{Spec: configv1beta1.ClusterSummarySpec{
		ClusterNamespace: "civo", ClusterName: cluster, MatchedBy: causes, Withdraw: withdraw,
	}}
}

func refTo(name string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "lib.projectsveltos.io/v1alpha1", Kind: "SveltosCluster", Namespace: "civo", Name: name}
}

// matches is the part of a matching that tests compare.
func matches(m matching) map[string][]configv1beta1.MatchCause {
	out := map[string][]configv1beta1.MatchCause{}
	for _, c := range m.clusters {
		out[c.member.Name] = c.causes
	}
	return out
}

func TestResolve(t *testing.T) {
	dead := ready("dead")
	dead.Ready = false
	never := fleet.Member{Ref: clusterref.Of("civo", "never")}
	deleting := ready("deleting")
	deleting.Deleting = true
	a, b := ready("a"), ready("b")

	tests := []struct {
		name       string
		in         inputs
		want       map[string][]configv1beta1.MatchCause
		unresolved []string
		missing    []string
	}{
		{name: "nothing asked, nothing matched", want: map[string][]configv1beta1.MatchCause{}},
		{
			name: "the selector takes clusters that have been ready, dead ones too, and none that is going",
			in:   inputs{bySelector: []fleet.Member{a, dead, never, deleting}},
			want: map[string][]configv1beta1.MatchCause{"a": {cause(bySel, "")}, "dead": {cause(bySel, "")}},
		},
		{
			name: "references take clusters whatever their health, once each, at any version",
			in: inputs{
				refs:   []corev1.ObjectReference{refTo("never"), {Kind: "SveltosCluster", Namespace: "civo", Name: "never"}, refTo("gone")},
				member: lookup(never),
			},
			want:    map[string][]configv1beta1.MatchCause{"never": {cause(byName, "")}},
			missing: []string{"civo/gone"},
		},
		{
			name: "a set gives what it has persisted",
			in: inputs{
				setKind: bySet, setNames: []string{"prod"},
				sets:   map[string]set{"prod": {resolved: true, selected: []fleet.Ref{a.Ref, clusterref.Of("civo", "gone")}}},
				member: lookup(a, b),
			},
			want: map[string][]configv1beta1.MatchCause{"a": {cause(bySet, "prod")}},
		},
		{
			name: "a set that selects nothing takes its clusters away",
			in: inputs{
				setKind: bySet, setNames: []string{"prod"}, sets: map[string]set{"prod": {resolved: true}},
				member: lookup(a), summaries: []configv1beta1.ClusterSummary{summaryBy("a", false, cause(bySet, "prod"))},
			},
			want: map[string][]configv1beta1.MatchCause{},
		},
		{
			name: "a set that is missing leaves its last clusters, and no other set's",
			in: inputs{
				setKind: bySet, setNames: []string{"prod"}, sets: map[string]set{},
				member: lookup(a, b, dead),
				summaries: []configv1beta1.ClusterSummary{
					summaryBy("a", false, cause(bySet, "prod")),
					summaryBy("b", false, cause(bySet, "other")),
					summaryBy("dead", true, cause(bySet, "prod")),
				},
			},
			want:       map[string][]configv1beta1.MatchCause{"a": {cause(bySet, "prod")}},
			unresolved: []string{"prod"},
		},
		{
			name: "every cause is kept, so that withdrawal knows whether a set alone was it",
			in: inputs{
				bySelector: []fleet.Member{a}, refs: []corev1.ObjectReference{refTo("a")},
				setKind: bySet, setNames: []string{"prod"},
				sets:   map[string]set{"prod": {resolved: true, selected: []fleet.Ref{a.Ref}}},
				member: lookup(a),
			},
			want: map[string][]configv1beta1.MatchCause{"a": {cause(bySel, ""), cause(byName, ""), cause(bySet, "prod")}},
		},
		{
			name: "a Profile's references are to its own namespace where they name none",
			in:   inputs{namespace: "civo", refs: []corev1.ObjectReference{{Kind: "SveltosCluster", Name: "a"}}, member: lookup(a)},
			want: map[string][]configv1beta1.MatchCause{"a": {cause(byName, "")}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := resolve(test.in)
			if diff := cmp.Diff(test.want, matches(got)); diff != "" {
				t.Errorf("matches (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.unresolved, got.unresolvedSets); diff != "" {
				t.Errorf("unresolved sets (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.missing, got.missingClusters); diff != "" {
				t.Errorf("missing clusters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSummaryNames(t *testing.T) {
	long := make([]byte, 250)
	for i := range long {
		long[i] = 'x'
	}
	for _, test := range []struct {
		key  Key
		want string
	}{
		{Key{Kind: "ClusterProfile", Name: "kyverno"}, "kyverno-sveltos-cluster1"},
		{Key{Kind: "Profile", Namespace: "civo", Name: "kyverno"}, "p--kyverno-sveltos-cluster1"},
	} {
		if got := summaryName(test.key, "cluster1"); got != test.want {
			t.Errorf("name of %v is %q, want upstream's %q", test.key, got, test.want)
		}
	}
	a := summaryName(Key{Kind: "ClusterProfile", Name: string(long)}, "cluster1")
	b := summaryName(Key{Kind: "ClusterProfile", Name: string(long)}, "cluster2")
	if len(a) > maxNameLength || a == b {
		t.Errorf("names of %d bytes, equal: %v; want at most %d and different", len(a), a == b, maxNameLength)
	}
	for _, value := range summaryLabels(Key{Kind: "ClusterProfile", Name: string(long)}, string(long)) {
		if len(value) > maxLabelLength {
			t.Errorf("label value of %d bytes, want at most %d", len(value), maxLabelLength)
		}
	}
}
