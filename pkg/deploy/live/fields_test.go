// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var ours = Manager{Name: "muster", Operation: metav1.ManagedFieldsOperationApply}

func entry(manager string, operation metav1.ManagedFieldsOperationType, subresource, fields string, minute int) metav1.ManagedFieldsEntry {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC))
	out := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, APIVersion: "v1", Time: &at, FieldsType: "FieldsV1", Subresource: subresource, FieldsV1: &metav1.FieldsV1{}}
	out.FieldsV1.SetRawBytes([]byte(fields))
	return out
}

func withEntries(entries ...metav1.ManagedFieldsEntry) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ManagedFields: entries}}
}

func TestFieldsTellWhetherAnybodyHasTakenOne(t *testing.T) {
	base := withEntries(entry("muster", "Apply", "", `{"f:data":{"f:a":{},"f:b":{}}}`, 1))
	want := Fields(base, ours)
	if len(want) != 32 {
		t.Fatalf("hash %q", want)
	}
	tests := map[string]struct {
		object *metav1.PartialObjectMetadata
		same   bool
	}{
		"another order":             {withEntries(entry("muster", "Apply", "", `{"f:data":{"f:b":{},"f:a":{}}}`, 1)), true},
		"another time":              {withEntries(entry("muster", "Apply", "", `{"f:data":{"f:a":{},"f:b":{}}}`, 9)), true},
		"somebody has other fields": {withEntries(entry("muster", "Apply", "", `{"f:data":{"f:a":{},"f:b":{}}}`, 1), entry("kubectl", "Update", "", `{"f:data":{"f:c":{}}}`, 2)), true},
		"our updates":               {withEntries(entry("muster", "Apply", "", `{"f:data":{"f:a":{},"f:b":{}}}`, 1), entry("muster", "Update", "", `{"f:x":{}}`, 2)), true},
		"a status":                  {withEntries(entry("muster", "Apply", "", `{"f:data":{"f:a":{},"f:b":{}}}`, 1), entry("muster", "Apply", "status", `{"f:x":{}}`, 2)), true},
		"one was taken":             {withEntries(entry("muster", "Apply", "", `{"f:data":{"f:a":{}}}`, 1)), false},
		"all were taken":            {withEntries(entry("kubectl", "Update", "", `{"f:data":{}}`, 1)), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if same := Fields(tc.object, ours) == want; same != tc.same {
				t.Errorf("the same: %t, want %t", same, tc.same)
			}
		})
	}
	if got := Fields(withEntries(), ours); got != "" {
		t.Errorf("an object without managers has the hash %q", got)
	}
}

func TestLastOther(t *testing.T) {
	object := withEntries(
		entry("muster", "Apply", "", `{}`, 9), entry("old", "Update", "", `{}`, 1), entry("hpa", "Update", "scale", `{}`, 5), entry("kubelet", "Update", "status", `{}`, 8))
	if got := LastOther(object, ours); got != "hpa" {
		t.Errorf("last was %q, want hpa", got)
	}
	if got := LastOther(withEntries(entry("muster", "Apply", "", `{}`, 9)), ours); got != "" {
		t.Errorf("last was %q, want nobody", got)
	}
}

func TestHandOver(t *testing.T) {
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("{spec: {replicas: 3, template: {containers: [{name: a, image: x}, {name: b, image: y}]}}}"), &object.Object); err != nil {
		t.Fatal(err)
	}
	const fields = `{"f:spec":{"f:replicas":{},"f:template":{"f:containers":{` +
		`"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:name":{}},"k:{\"name\":\"b\"}":{".":{},"f:image":{},"f:name":{}}}}}}`
	object.SetManagedFields([]metav1.ManagedFieldsEntry{entry("muster", "Apply", "", fields, 1), entry("kubectl", "Update", "", `{"f:x":{}}`, 1)})
	to := Manager{Name: "muster-initial", Operation: metav1.ManagedFieldsOperationUpdate}

	entries, changed, err := HandOver(object, ours, to, []string{"/spec/replicas", "/spec/template/containers/1/image", "/nowhere"})
	if err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	got := map[string]any{}
	for _, e := range entries {
		var set any
		if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &set); err != nil {
			t.Fatal(err)
		}
		got[e.Manager+" "+string(e.Operation)] = set
	}
	empty := map[string]any{}
	want := map[string]any{
		"kubectl Update": map[string]any{"f:x": empty},
		"muster Apply": map[string]any{"f:spec": map[string]any{"f:template": map[string]any{"f:containers": map[string]any{
			`k:{"name":"a"}`: map[string]any{".": empty, "f:image": empty, "f:name": empty},
			`k:{"name":"b"}`: map[string]any{".": empty, "f:name": empty},
		}}}},
		"muster-initial Update": map[string]any{"f:spec": map[string]any{"f:replicas": empty, "f:template": map[string]any{"f:containers": map[string]any{
			`k:{"name":"b"}`: map[string]any{"f:image": empty},
		}}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}

	object.SetManagedFields(entries)
	if _, changed, err = HandOver(object, ours, to, []string{"/spec/replicas"}); changed || err != nil {
		t.Errorf("what was handed over already changes: %t, %v", changed, err)
	}
	// More is handed over later, and what was before stays.
	entries, changed, err = HandOver(object, ours, to, []string{"/spec/template/containers/0"})
	if !changed || err != nil {
		t.Fatalf("changed %t, %v", changed, err)
	}
	for _, e := range entries {
		if e.Manager == to.Name && !containsAll(string(e.FieldsV1.GetRawBytes()), "f:replicas", `\"a\"`, `\"b\"`) {
			t.Errorf("%s has %s", to.Name, e.FieldsV1.GetRawBytes())
		}
	}
}

func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func TestWithout(t *testing.T) {
	const object = "{spec: {replicas: 3, list: [a, b, c, d], deep: {x/y: {z~: 1}}}, metadata: {name: n}}"
	tests := map[string]struct {
		pointers []string
		want     string
		removed  bool
	}{
		"a field":               {[]string{"/spec/replicas"}, "{spec: {list: [a, b, c, d], deep: {x/y: {z~: 1}}}, metadata: {name: n}}", true},
		"elements in any order": {[]string{"/spec/list/0", "/spec/list/2"}, "{spec: {replicas: 3, list: [b, d], deep: {x/y: {z~: 1}}}, metadata: {name: n}}", true},
		"escapes":               {[]string{"/spec/deep/x~1y/z~0"}, "{spec: {replicas: 3, list: [a, b, c, d], deep: {x/y: {}}}, metadata: {name: n}}", true},
		"what is not there":     {[]string{"/spec/other", "/spec/list/9", "/spec/list/x", "/spec/replicas/below"}, object, false},
		"nothing":               {nil, object, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got, want map[string]any
			if err := yaml.Unmarshal([]byte(object), &got); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatal(err)
			}
			if removed := Without(got, tc.pointers); removed != tc.removed {
				t.Errorf("removed %t, want %t", removed, tc.removed)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
		})
	}
}
