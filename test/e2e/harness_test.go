// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a test does through its scope is there, and gone when it has ended.
func TestScopeCleansUp(t *testing.T) {
	t.Parallel()
	var used *scope
	t.Run("use", func(t *testing.T) {
		used = newScope(t)
		used.register("cluster1", used.labels())
		used.apply("{apiVersion: lib.projectsveltos.io/v1beta1, kind: ClusterSet, metadata: {name: " + used.name + "}, spec: {maxReplicas: 1}}")
		used.kubectl("get", "clusterset", used.name)
	})
	if used == nil {
		return // it has failed already
	}
	ctx := context.Background()
	sets, err := used.muster.LibV1beta1().ClusterSets().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + used.name})
	if err != nil || len(sets.Items) != 0 {
		t.Errorf("ClusterSets after the test: %v, %v", sets.Items, err)
	}
	clusters, err := used.muster.LibV1beta1().SveltosClusters(used.name).List(ctx, metav1.ListOptions{})
	if err != nil || len(clusters.Items) != 0 {
		t.Errorf("SveltosClusters after the test: %v, %v", clusters.Items, err)
	}
}
