// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

func TestAProfileWakesForWhatItLooksAt(t *testing.T) {
	condition := func(conditionType, message string) func(*configv1beta1.ClusterSummary) {
		return func(s *configv1beta1.ClusterSummary) {
			s.Status.Conditions = []metav1.Condition{{Type: conditionType, Message: message}}
		}
	}
	now := metav1.Now()
	for name, tc := range map[string]struct {
		change func(*configv1beta1.ClusterSummary)
		want   bool
	}{
		"nothing":  {func(*configv1beta1.ClusterSummary) {}, false},
		"written":  {func(s *configv1beta1.ClusterSummary) { s.ResourceVersion = "2" }, false},
		"features": {func(s *configv1beta1.ClusterSummary) { s.Status.FeatureSummaries = []configv1beta1.FeatureSummary{{}} }, false},
		"releases": {func(s *configv1beta1.ClusterSummary) {
			s.Status.HelmReleaseSummaries = []configv1beta1.HelmChartSummary{{}}
		}, false},
		"cluster reachable": {condition(configv1beta1.ConditionClusterReachable, "no"), false},
		"ready":             {condition(configv1beta1.ConditionReady, "no"), true},
		"conflict":          {condition(configv1beta1.ConditionConflict, "no"), true},
		"spec":              {func(s *configv1beta1.ClusterSummary) { s.Generation++ }, true},
		"labels":            {func(s *configv1beta1.ClusterSummary) { s.Labels = map[string]string{"a": "b"} }, true},
		"owner":             {func(s *configv1beta1.ClusterSummary) { s.OwnerReferences = nil }, true},
		"deletion":          {func(s *configv1beta1.ClusterSummary) { s.DeletionTimestamp = &now }, true},
		"made again":        {func(s *configv1beta1.ClusterSummary) { s.UID = "another" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := summaryBy("cluster1", false)
			before.OwnerReferences = []metav1.OwnerReference{{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}}
			after := before.DeepCopy()
			tc.change(after)
			got := ofInterest().Update(event.TypedUpdateEvent[*configv1beta1.ClusterSummary]{ObjectOld: &before, ObjectNew: after})
			if got != tc.want {
				t.Errorf("the profile wakes: %t, want %t", got, tc.want)
			}
		})
	}
}
