// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterprofile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

func TestTable(t *testing.T) {
	condition := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: v1beta1.ConditionReady, Status: status, Reason: reason}}
	}
	tests := map[string]struct {
		profile config.ClusterProfile
		want    []any
	}{
		"new": {want: []any{"", "", int64(0), int64(0), int64(0), "", "<unknown>", int64(0), ""}},
		"deployed": {
			profile: config.ClusterProfile{
				Spec:   config.ProfileSpec{SyncMode: config.SyncModeContinuous, Tier: 50, SetRefs: []string{"prod", "edge"}},
				Status: config.ProfileStatus{MatchingClusterCount: 3, ProvisionedClusterCount: 2, Conditions: condition(metav1.ConditionTrue, "Provisioned")},
			},
			want: []any{"", "True", int64(3), int64(2), int64(0), "Continuous", "<unknown>", int64(50), "prod,edge"},
		},
		"failing": {
			profile: config.ClusterProfile{Status: config.ProfileStatus{
				FailedClusters: make([]config.FailedCluster, 2), Conditions: condition(metav1.ConditionFalse, "SourceMissing"),
			}},
			want: []any{"", "SourceMissing", int64(0), int64(0), int64(2), "", "<unknown>", int64(0), ""},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := table.ConvertToTable(t.Context(), &test.profile, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Rows[0].Cells); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
		})
	}
}
