// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

func validSummary() *config.ClusterSummary {
	return &config.ClusterSummary{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "kyverno-sveltos-cluster1", ResourceVersion: "1"},
		Spec: config.ClusterSummarySpec{
			ClusterNamespace: "civo", ClusterName: "cluster1", ClusterType: lib.ClusterTypeSveltos, ProfileRevision: "kyverno-1",
			MatchedBy: []config.MatchCause{{Kind: config.MatchCauseClusterSet, Name: "prod"}, {Kind: config.MatchCauseSelector}},
		},
	}
}

func TestValidateClusterSummary(t *testing.T) {
	tests := map[string]struct {
		change   func(*config.ClusterSummary)
		create   []string
		onUpdate []string
	}{
		"good": {change: func(*config.ClusterSummary) {}},
		// The profile was checked when it was written, maybe by older rules.
		"profile in it":  {change: func(s *config.ClusterSummary) { s.Spec.ClusterProfileSpec.Reloader = true }},
		"other revision": {change: func(s *config.ClusterSummary) { s.Spec.ProfileRevision = "kyverno-2" }},
		"no cluster": {
			change:   func(s *config.ClusterSummary) { s.Spec.ClusterName = "" },
			create:   []string{"spec.clusterName: Required value"},
			onUpdate: []string{"spec.clusterName: field is immutable", "spec.clusterName: Required value"},
		},
		"no namespace": {
			change:   func(s *config.ClusterSummary) { s.Spec.ClusterNamespace = "" },
			create:   []string{"spec.clusterNamespace: Required value"},
			onUpdate: []string{"spec.clusterNamespace: field is immutable", "spec.clusterNamespace: Required value"},
		},
		"other namespace": {
			change:   func(s *config.ClusterSummary) { s.Spec.ClusterNamespace = "other" },
			create:   []string{"spec.clusterNamespace: has to be the namespace of this object"},
			onUpdate: []string{"spec.clusterNamespace: field is immutable", "spec.clusterNamespace: has to be the namespace of this object"},
		},
		"other cluster": {
			change:   func(s *config.ClusterSummary) { s.Spec.ClusterName = "cluster2" },
			onUpdate: []string{"spec.clusterName: field is immutable"},
		},
		"Cluster API": {
			change:   func(s *config.ClusterSummary) { s.Spec.ClusterType = lib.ClusterTypeCapi },
			create:   []string{`spec.clusterType: Unsupported value: "Capi"`},
			onUpdate: []string{"spec.clusterType: field is immutable", `spec.clusterType: Unsupported value: "Capi"`},
		},
		"unknown cause": {
			change:   func(s *config.ClusterSummary) { s.Spec.MatchedBy[1].Kind = "Luck" },
			create:   []string{`spec.matchedBy[1].kind: Unsupported value: "Luck"`},
			onUpdate: []string{`spec.matchedBy[1].kind: Unsupported value: "Luck"`},
		},
		"set without a name": {
			change:   func(s *config.ClusterSummary) { s.Spec.MatchedBy[0].Name = "" },
			create:   []string{"spec.matchedBy[0].name: Required value"},
			onUpdate: []string{"spec.matchedBy[0].name: Required value"},
		},
		"paused": {
			change: func(s *config.ClusterSummary) { s.Annotations = map[string]string{"cluster.x-k8s.io/paused": ""} },
		},
		"retrigger": {
			change: func(s *config.ClusterSummary) { s.Annotations = map[string]string{"projectsveltos.io/retrigger": "1"} },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := validSummary()
			tt.change(s)
			expect(t, ValidateClusterSummary(s), tt.create...)
			expect(t, ValidateClusterSummaryUpdate(s, validSummary()), tt.onUpdate...)
			expect(t, ValidateClusterSummaryUpdate(s, s))
			expect(t, ValidateClusterSummaryStatusUpdate(s, s))
		})
	}
}

func TestValidateClusterSummaryStatusUpdate(t *testing.T) {
	s := validSummary()
	s.Status.FeatureSummaries = []config.FeatureSummary{{FeatureID: lib.FeatureHelm}, {FeatureID: lib.FeatureResources}}
	expect(t, ValidateClusterSummaryStatusUpdate(s, validSummary()))

	s.Status.FeatureSummaries = []config.FeatureSummary{{FeatureID: lib.FeatureHelm}, {FeatureID: "Magic"}, {FeatureID: lib.FeatureHelm}}
	expect(t, ValidateClusterSummaryStatusUpdate(s, validSummary()),
		`status.featureSummaries[1].featureID: Unsupported value: "Magic"`, `status.featureSummaries[2].featureID: Duplicate value: "Helm"`)
}
