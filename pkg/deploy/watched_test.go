// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

func TestOneObjectThatHasDriftedIsAppliedAlone(t *testing.T) {
	b := newBench(t)
	request := Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "1"), configMap(t, "c", "1"))}
	b.mustDeploy(request)
	b.wire.take()

	request.Watch = Watch{On: true, Objects: map[inventory.ObjectKey]bool{{Kind: "ConfigMap", Namespace: "apps", Name: "b"}: true}}
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("b")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	request.Watch.Objects = nil
	b.mustDeploy(request)
	if got := b.wire.take(); len(got) > 0 {
		t.Errorf("requests while nothing has drifted: %v", got)
	}
}

func TestWhatWasAppliedIsRemembered(t *testing.T) {
	b := newBench(t)
	ignored := configMap(t, "b", "1")
	ignored.Content.SetAnnotations(map[string]string{DriftIgnoreAnnotation: ""})
	record := b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"), ignored)}).Record
	for i, entry := range record.Objects {
		// The wire tells of no managers.
		if entry.Fields != inventory.NoFields || entry.ResourceVersion == "" || entry.IgnoreDrift != (i == 1) {
			t.Errorf("entry %+v", entry)
		}
	}
	// What an older build has applied is applied once more, and then known.
	record.Objects[0].Fields = ""
	if err := b.deployer.options.Inventory.Put(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	b.wire.take()
	request := Request{Objects: resources(configMap(t, "a", "1"), ignored)}
	b.mustDeploy(request)
	if got := b.wire.writes(); len(got) > 0 {
		t.Errorf("writes without looking for drift: %v", got)
	}
	request.Watch.On = true
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestReleasesAreLookedAtOnceAndWhenTheyDrift(t *testing.T) {
	b := newBench(t)
	releases := &helmPreviews{states: []release.ObjectState{{ObjectKey: release.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "a"}}}}
	b.deployer.options.Releases = releases
	request := Request{Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}}
	b.mustDeploy(request)
	if len(releases.repairs) != 0 {
		t.Errorf("looked at without being asked to: %v", releases.repairs)
	}
	key := inventory.ReleaseKey{Namespace: "apps", Name: "nginx"}
	request.Watch.On = true
	result := b.mustDeploy(request)
	if len(releases.repairs) != 1 || releases.repairs[0].Only != nil || len(result.Watched[key]) != 1 {
		t.Fatalf("looked at %d times, knows %v", len(releases.repairs), result.Watched)
	}
	request.Watch.Releases = map[inventory.ReleaseKey]map[inventory.ObjectKey]bool{key: {}}
	if result = b.mustDeploy(request); len(releases.repairs) != 1 || len(result.Watched) != 0 {
		t.Errorf("looked at %d times although nothing has drifted", len(releases.repairs))
	}
	request.Watch.Releases[key] = map[inventory.ObjectKey]bool{{Kind: "ConfigMap", Namespace: "apps", Name: "a"}: true}
	b.mustDeploy(request)
	if len(releases.repairs) != 2 {
		t.Fatalf("looked at %d times", len(releases.repairs))
	}
	if only := releases.repairs[1].Only; !only(release.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "a"}) || only(release.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "b"}) {
		t.Error("not that object alone was repaired")
	}
	// One that somebody has uninstalled is deployed again.
	b.charts.take()
	releases.err = release.ErrNotDeployed
	b.charts.hook = func(string) { releases.err = nil }
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"load nginx", "deploy nginx"}, b.charts.take()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestExcludedFieldsAreMadeAndThenLeft(t *testing.T) {
	b := newBench(t)
	request := Request{
		Objects:  resources(configMap(t, "a", "1")),
		Excluded: func(*unstructured.Unstructured) []string { return []string{"/data/value"} },
	}
	b.mustDeploy(request)
	if value, _, _ := unstructured.NestedString(b.wire.get(configMapPath("a")).Object, "data", "value"); value != "1" {
		t.Errorf("an object that is made has the value %q", value)
	}
	// Somebody else changes the field; it is ours by the server's account.
	changed := b.wire.get(configMapPath("a")).DeepCopy()
	_ = unstructured.SetNestedField(changed.Object, "theirs", "data", "value")
	entry := metav1.ManagedFieldsEntry{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{}}
	entry.FieldsV1.SetRawBytes([]byte(`{"f:data":{"f:value":{},"f:other":{}}}`))
	changed.SetManagedFields([]metav1.ManagedFieldsEntry{entry})
	b.wire.put(configMapPath("a"), changed)
	b.wire.take()

	request.Objects = resources(configMap(t, "a", "2"))
	request.Reapply = true
	b.mustDeploy(request)
	var applied, handedOver bool
	for _, r := range b.wire.take() {
		if r.Method != http.MethodPatch {
			continue
		}
		data, _, _ := unstructured.NestedMap(r.Body, "data")
		fields, _, _ := unstructured.NestedSlice(r.Body, "metadata", "managedFields")
		switch {
		case len(fields) > 0:
			handedOver = slices.ContainsFunc(fields, func(f any) bool { return f.(map[string]any)["manager"] == initialManager })
			if applied {
				t.Error("the field was left out before it was somebody else's")
			}
		default:
			applied = true
			if _, has := data["value"]; has {
				t.Errorf("the apply has the field: %v", data)
			}
		}
	}
	if !applied || !handedOver {
		t.Errorf("applied %t, handed over %t", applied, handedOver)
	}
}
