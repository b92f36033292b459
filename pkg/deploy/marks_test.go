// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// A hash that changes with a build re-applies every object of a fleet. These
// may be changed only together with a way to tell old hashes from new ones.
func TestHashesAreTheSameInEveryBuild(t *testing.T) {
	obj := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps, labels: {b: x, a: y}}\ndata: {z: \"<&>\", k: ü}\n")
	hash, err := contentHash(obj, inventory.Owner{Kind: "Profile", Namespace: "civo", Name: "web", Tier: 100}, Resources, source("manifests", 100), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "19364867473c7311b9b6bc8b16acf3bcba0d60890006447f6de2573b0faf5bcf"; hash != want {
		t.Errorf("object: %s, want %s", hash, want)
	}
	c := chart("nginx", "1.2.3")
	c.Values = map[string]any{"replicas": float64(3), "nested": map[string]any{"list": []any{"x", true, nil}}}
	hash, err = chartHash(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := "40f8154782cb6551a0f8cba4a216457f7e6b1a13451f05b1279ce12dc0a7de1c"; hash != want {
		t.Errorf("chart: %s, want %s", hash, want)
	}
}

func TestMarkOverwritesMarksOfTheUsersOwn(t *testing.T) {
	obj := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {"+ReasonLabel+": mine}, annotations: {"+OwnerNameAnnotation+": mine}}\n")
	mark(obj, owner("web", 1), Resources, source("s", 2), "hash")
	key, ok := markedOwner(obj, "civo")
	if !ok || key != owner("web", 1).Key() || obj.GetLabels()[ReasonLabel] != "Resources" {
		t.Errorf("marked as %v, %v", key, obj.GetLabels())
	}
}

func TestMarkedOwner(t *testing.T) {
	tests := map[string]struct {
		annotations string
		want        inventory.OwnerKey
		ok          bool
	}{
		"none":             {"{}", inventory.OwnerKey{}, false},
		"a kind alone":     {"{" + OwnerKindAnnotation + ": Profile}", inventory.OwnerKey{}, false},
		"a ClusterProfile": {"{" + OwnerKindAnnotation + ": ClusterProfile, " + OwnerNameAnnotation + ": web}", inventory.OwnerKey{Kind: "ClusterProfile", Name: "web"}, true},
		"a Profile":        {"{" + OwnerKindAnnotation + ": Profile, " + OwnerNameAnnotation + ": web}", inventory.OwnerKey{Kind: "Profile", Namespace: "civo", Name: "web"}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: "+tc.annotations+"}\n")
			if got, ok := markedOwner(obj, "civo"); got != tc.want || ok != tc.ok {
				t.Errorf("got %v, %v", got, ok)
			}
		})
	}
}

func TestSanitizeTakesOutWhatOnlyServersSet(t *testing.T) {
	exported := parse(t, `apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  uid: x
  resourceVersion: "7"
  generation: 3
  creationTimestamp: null
  managedFields: [{manager: kubectl}]
  selfLink: /x
  finalizers: [example.io/kept]
`)
	before := exported.DeepCopy()
	got, err := sanitize(exported)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"name": "a", "finalizers": []any{"example.io/kept"}}
	if diff := cmp.Diff(any(want), got.Object["metadata"]); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before.Object, exported.Object); diff != "" {
		t.Errorf("the rendered object was written to:\n%s", diff)
	}
}

func TestAPatchChangesTheHashOfAChart(t *testing.T) {
	c := chart("nginx", "1.2.3")
	plain, err := chartHash(c)
	if err != nil {
		t.Fatal(err)
	}
	c.PostRenderHash = "other"
	if patched, err := chartHash(c); err != nil || patched == plain {
		t.Errorf("with a patch the hash is %s, %v", patched, err)
	}
}
