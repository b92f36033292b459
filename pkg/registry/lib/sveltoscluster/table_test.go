// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/lib"
)

func TestTable(t *testing.T) {
	tests := map[string]struct {
		cluster lib.SveltosCluster
		want    []any
	}{
		"new": {
			cluster: lib.SveltosCluster{ObjectMeta: metav1.ObjectMeta{Name: "c"}},
			want:    []any{"c", "", "", "<unknown>", "", int64(0), "", ""},
		},
		"ready": {
			cluster: lib.SveltosCluster{
				ObjectMeta: metav1.ObjectMeta{Name: "c"},
				Status:     lib.SveltosClusterStatus{Ready: true, Version: "v1.37.0", ConnectionStatus: lib.ConnectionHealthy},
			},
			want: []any{"c", "true", "v1.37.0", "<unknown>", "Healthy", int64(0), "", ""},
		},
		"down and paused": {
			cluster: lib.SveltosCluster{
				ObjectMeta: metav1.ObjectMeta{Name: "c"},
				Spec:       lib.SveltosClusterSpec{Paused: true},
				Status: lib.SveltosClusterStatus{
					Version: "v1.37.0", ConnectionStatus: lib.ConnectionDown, ConnectionFailures: 3, FailureMessage: ptr.To("no route"),
				},
			},
			want: []any{"c", "", "v1.37.0", "<unknown>", "Down", int64(3), "true", "no route"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := table.ConvertToTable(t.Context(), &test.cluster, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Rows[0].Cells); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
		})
	}
}

// Scripts read these columns by their place.
func TestColumnsBeginAsUpstreams(t *testing.T) {
	got, err := table.ConvertToTable(t.Context(), &lib.SveltosClusterList{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var narrow []string
	for _, column := range got.ColumnDefinitions {
		if column.Priority == 0 {
			narrow = append(narrow, column.Name)
		}
	}
	if diff := cmp.Diff([]string{"Name", "Ready", "Version", "Age"}, narrow); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}
