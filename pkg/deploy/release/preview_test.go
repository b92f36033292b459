// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// replicasIn is the value that the chart's one object has, "" if there is none.
func replicasIn(objects []*unstructured.Unstructured) string {
	if len(objects) != 1 {
		return ""
	}
	value, _, _ := unstructured.NestedString(objects[0].Object, "data", "replicas")
	return value
}

func TestPreview(t *testing.T) {
	b := newHelmBench(t)
	preview := func(c *Chart, values map[string]any) Preview {
		t.Helper()
		before := b.history()
		got, err := b.manager.Preview(context.Background(), Cluster{Name: "civo/cluster1"}, Release{Namespace: "apps", Name: "web", Chart: c, Values: values})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, b.history()); diff != "" {
			t.Errorf("a preview has changed the history (-before +after):\n%s", diff)
		}
		return got
	}
	first := b.chart("1.0.0")
	if got := preview(first, nil); got.Action != Installed || replicasIn(got.Before) != "" || replicasIn(got.After) != "1" {
		t.Errorf("before it is there: %+v", got)
	}
	b.mustDeploy(first, nil)
	if got := preview(first, nil); got.Action != Unchanged || got.After != nil {
		t.Errorf("as it is: %+v", got)
	}
	if got := preview(first, map[string]any{"replicas": 2}); got.Action != Upgraded || !got.ValuesOnly || replicasIn(got.Before) != "1" || replicasIn(got.After) != "2" {
		t.Errorf("other values: %+v", got)
	}
	if got := preview(b.chart("1.1.0"), nil); got.Action != Upgraded || got.ValuesOnly || got.Message != "upgrades nginx 1.0.0 to nginx 1.1.0" {
		t.Errorf("another version: %+v", got)
	}
	objects, err := b.manager.Manifest(context.Background(), Cluster{}, "apps", "web")
	if err != nil || replicasIn(objects) != "1" || KeyOf(objects[0]) != (ObjectKey{Kind: "ConfigMap", Name: "web"}) {
		t.Errorf("manifest %v, %v", objects, err)
	}
	if _, err := b.manager.Manifest(context.Background(), Cluster{}, "apps", "other"); !errors.Is(err, ErrNotDeployed) {
		t.Errorf("a release that is not there: %v", err)
	}
	if _, err := b.manager.Repair(context.Background(), Cluster{}, Repair{Namespace: "apps", Name: "other"}); !errors.Is(err, ErrNotDeployed) {
		t.Errorf("repairing a release that is not there: %v", err)
	}
}
