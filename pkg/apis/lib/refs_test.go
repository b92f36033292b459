// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestRefAt(t *testing.T) {
	tests := map[string]struct{ apiVersion, kind, want string }{
		"cluster":             {"lib.projectsveltos.io/v1beta1", "SveltosCluster", "lib.projectsveltos.io/v1alpha1"},
		"cluster, same":       {"lib.projectsveltos.io/v1alpha1", "SveltosCluster", "lib.projectsveltos.io/v1alpha1"},
		"cluster, no version": {"", "SveltosCluster", ""},
		"other kind":          {"lib.projectsveltos.io/v1beta1", "ClusterSet", "lib.projectsveltos.io/v1beta1"},
		"other group":         {"cluster.x-k8s.io/v1beta1", "Cluster", "cluster.x-k8s.io/v1beta1"},
		"group that begins":   {"lib.projectsveltos.io.example.com/v1", "SveltosCluster", "lib.projectsveltos.io.example.com/v1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := corev1.ObjectReference{APIVersion: tt.apiVersion, Kind: tt.kind, Namespace: "civo", Name: "cluster1", UID: "u"}
			want := in
			want.APIVersion = tt.want
			if diff := cmp.Diff(want, RefAt("v1alpha1", in)); diff != "" {
				t.Errorf("RefAt (-want +got):\n%s", diff)
			}
		})
	}
}

// Conversion shares memory with the object that it converts from, which others may
// be reading.
func TestRefsAtLeavesItsInputAlone(t *testing.T) {
	refs := []corev1.ObjectReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "a"},
		{APIVersion: ClusterAPIVersion("v1beta1"), Kind: "SveltosCluster", Name: "b"},
	}
	before := append([]corev1.ObjectReference(nil), refs...)

	got := RefsAt("v1alpha1", refs)
	if want := ClusterAPIVersion("v1alpha1"); got[1].APIVersion != want {
		t.Errorf("apiVersion = %q, want %q", got[1].APIVersion, want)
	}
	if got[0] != refs[0] {
		t.Errorf("another kind became %v", got[0])
	}
	if diff := cmp.Diff(before, refs); diff != "" {
		t.Errorf("the input changed:\n%s", diff)
	}
}

func TestRefsAtCopiesNothingInVain(t *testing.T) {
	refs := []corev1.ObjectReference{{APIVersion: ClusterAPIVersion("v1beta1"), Kind: "SveltosCluster", Name: "b"}}
	if allocations := testing.AllocsPerRun(10, func() { RefsAt("v1beta1", refs) }); allocations != 0 {
		t.Errorf("RefsAt allocates %v times although there is nothing to rewrite", allocations)
	}
	if got := RefsAt("v1beta1", nil); got != nil {
		t.Errorf("RefsAt(nil) = %v", got)
	}
}
