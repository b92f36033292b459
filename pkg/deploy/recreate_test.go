// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// immutable refuses to update what exists, whatever its kind.
func immutable(w *wire) func(wireRequest) *apierrors.StatusError {
	return func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch && w.objects[req.Path] != nil {
			return apierrors.NewInvalid(schema.GroupKind{Kind: "Thing"}, "a", nil)
		}
		return nil
	}
}

// forced deploys an object, and then another state of it.
func (b *bench) forced(first, second Object) Result {
	b.t.Helper()
	b.mustDeploy(Request{Objects: resources(first)})
	b.wire.take()
	b.wire.intercept = immutable(b.wire)
	return b.deploy(Request{Objects: resources(second)})
}

func TestForceRecreatesWhatCannotBeUpdated(t *testing.T) {
	manifest := func(metadata string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps" + metadata + "}\n"
	}
	annotated := func(value string) string {
		return manifest(", annotations: {" + ForceRecreateAnnotation + ": '" + value + "'}")
	}
	for name, tc := range map[string]struct {
		text      string
		force     bool
		recreated bool
	}{
		"not asked for":             {manifest(""), false, false},
		"by the reference":          {manifest(""), true, true},
		"by the object":             {annotated(""), false, true},
		"the object refuses":        {annotated("false"), true, false},
		"of a kind":                 {widgetCRD, true, false},
		"a namespace":               {"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", true, false},
		"a namespace, by itself":    {"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {" + ForceRecreateAnnotation + ": ''}}\n", false, false},
		"a volume":                  {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, namespace: apps}\n", true, false},
		"a volume that asks itself": {"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, namespace: apps, annotations: {" + ForceRecreateAnnotation + ": ''}}\n", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, second := object(t, tc.text), object(t, tc.text)
			second.Content.SetLabels(map[string]string{"changed": "yes"})
			second.Force = tc.force
			result := b.forced(first, second)
			writes := strings.Join(b.wire.writes(), "\n")
			if result.OK() != tc.recreated || strings.Contains(writes, "DELETE") != tc.recreated {
				t.Errorf("%v, with\n%s", result.Features[Resources].Err, writes)
			}
			if !tc.recreated && !apierrors.IsInvalid(result.Features[Resources].Err) {
				t.Errorf("error %v is not the cluster's", result.Features[Resources].Err)
			}
		})
	}
}

// The object that is deleted is the one that was looked at, and the record has the one
// that replaced it.
func TestRecreateIsOfOneObject(t *testing.T) {
	b := newBench(t)
	second := configMap(t, "a", "2")
	second.Force = true
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	was := b.wire.get(configMapPath("a"))
	b.wire.intercept = immutable(b.wire)
	b.wire.take()
	result := b.mustDeploy(Request{Objects: resources(second)})
	var deletes []map[string]any
	for _, req := range b.wire.take() {
		if req.Method == http.MethodDelete {
			deletes = append(deletes, req.Body["preconditions"].(map[string]any))
		}
	}
	want := []map[string]any{{"uid": string(was.GetUID()), "resourceVersion": was.GetResourceVersion()}}
	if diff := cmp.Diff(want, deletes); diff != "" {
		t.Errorf("preconditions (-want +got):\n%s", diff)
	}
	is := b.wire.get(configMapPath("a"))
	if is.GetUID() == was.GetUID() || result.Record.Objects[0].UID != is.GetUID() {
		t.Errorf("was %s, is %s, recorded %s", was.GetUID(), is.GetUID(), result.Record.Objects[0].UID)
	}
}

// Nothing is deleted that could not be created anew.
func TestRecreateAsksFirst(t *testing.T) {
	b := newBench(t)
	second := configMap(t, "a", "2")
	second.Force = true
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPost {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "a", errors.New("a webhook says no"))
		}
		return immutable(b.wire)(req)
	}
	b.wire.take()
	result := b.deploy(Request{Objects: resources(second)})
	err := result.Features[Resources].Err
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "a webhook says no") {
		t.Errorf("error %v", err)
	}
	if b.wire.get(configMapPath("a")) == nil || result.Record.Objects[0].ContentHash == "" {
		t.Error("what could not be replaced was deleted, or left in doubt")
	}
}

// What was deleted and could not be created is named, in the inventory, and created by
// the next pass.
func TestRecreateIsFinishedByTheNextPass(t *testing.T) {
	b := newBench(t)
	second := configMap(t, "a", "2")
	second.Force = true
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch {
			return apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "a", nil)
		}
		return nil
	}
	result := b.deploy(Request{Objects: resources(second)})
	if err := result.Features[Resources].Err; err == nil || !strings.Contains(err.Error(), "ConfigMap apps/a") || !strings.Contains(err.Error(), "tried again") {
		t.Errorf("error %v", err)
	}
	entry := result.Record.Object(inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "a"})
	if entry == nil || entry.ContentHash != "" {
		t.Fatalf("the inventory says %+v of what was deleted", entry)
	}
	b.wire.intercept = nil
	b.restart()
	b.mustDeploy(Request{Objects: resources(second)})
	if b.wire.get(configMapPath("a")) == nil {
		t.Error("it was not created again")
	}
}

func TestRecreateWaitsForFinalizers(t *testing.T) {
	b := newBench(t)
	second := configMap(t, "a", "2")
	second.Force = true
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	held := b.wire.get(configMapPath("a")).DeepCopy()
	held.SetFinalizers([]string{"example.com/hold"})
	b.wire.put(configMapPath("a"), held)
	b.wire.intercept = immutable(b.wire)
	var pending *PendingError
	if err := b.deploy(Request{Objects: resources(second)}).Features[Resources].Err; !errors.As(err, &pending) || !strings.Contains(err.Error(), "example.com/hold") {
		t.Errorf("error %v", err)
	}
}

func TestTryOutLeavesOutWhatOnlyOneCanHave(t *testing.T) {
	service := parse(t, "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: apps}\nspec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], healthCheckNodePort: 30001, ports: [{port: 80, nodePort: 30000}]}\n")
	s := objectStep{wantedObject: wantedObject{key: keyOf(service), content: service}}
	want := map[string]any{"ports": []any{map[string]any{"port": float64(80)}}}
	if diff := cmp.Diff(want, withoutAllocations(s).Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	headless := parse(t, "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: apps}\nspec: {clusterIP: None}\n")
	s = objectStep{wantedObject: wantedObject{key: keyOf(headless), content: headless}}
	if diff := cmp.Diff(map[string]any{"clusterIP": "None"}, withoutAllocations(s).Object["spec"]); diff != "" {
		t.Errorf("a headless service (-want +got):\n%s", diff)
	}
}

func TestSubresourcesAreAppliedBehindTheirObject(t *testing.T) {
	b := newBench(t)
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\ndata: {x: y}\nstatus: {phase: Ready}\n"
	with, without := object(t, text), configMap(t, "b", "1")
	with.Subresources, without.Subresources = []string{"status"}, []string{"status"}
	b.wire.put(configMapPath("a")+"/status", parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n"))
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if strings.HasSuffix(req.Path, "/status") {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps/status"}, "a", errors.New("no"))
		}
		return nil
	}
	result := b.deploy(Request{Objects: resources(with, without)})
	if err := result.Features[Resources].Err; !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "subresource status") {
		t.Errorf("error %v", err)
	}
	if entry := result.Record.Objects; len(entry) == 0 || entry[0].Name != "a" || entry[0].ContentHash != "" {
		t.Errorf("an object without its subresource is %+v in the inventory", entry)
	}

	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if strings.HasSuffix(req.Path, "/status") {
			delete(req.Body["metadata"].(map[string]any), "uid") // the wire's object is another one
		}
		return nil
	}
	b.wire.take()
	b.mustDeploy(Request{Objects: resources(with, without)})
	want := []string{"PATCH " + configMapPath("a"), "PATCH " + configMapPath("a") + "/status", "PATCH " + configMapPath("b")}
	if diff := cmp.Diff(want, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if sent := b.wire.get(configMapPath("a") + "/status"); sent.Object["data"] != nil || sent.Object["status"] == nil {
		t.Errorf("sent %v", sent.Object)
	}

	// Asking for them later is a change, and nothing else is.
	b.mustDeploy(Request{Objects: resources(with, without)})
	without.Subresources = nil
	b.mustDeploy(Request{Objects: resources(with, without)})
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("b")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// What somebody else has made in the meantime is neither deleted nor applied to.
func TestRecreateLeavesWhatBecameAnothersAlone(t *testing.T) {
	b := newBench(t)
	second := configMap(t, "a", "2")
	second.Force = true
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	for _, exists := range []bool{true, false} {
		b.profiles["rival"] = exists
		var rivals *unstructured.Unstructured
		b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
			if req.Method == http.MethodPost {
				made := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n")
				made.SetAnnotations(map[string]string{OwnerKindAnnotation: "ClusterProfile", OwnerNameAnnotation: "rival"})
				rivals = b.wire.store(configMapPath("a"), made)
			}
			if rivals != nil {
				return nil
			}
			return immutable(b.wire)(req)
		}
		err := b.deploy(Request{Objects: resources(second)}).Features[Resources].Err
		if err == nil || strings.Contains(err.Error(), "was deleted") {
			t.Errorf("error %v", err)
		}
		if got := b.wire.get(configMapPath("a")); got == nil || got.GetResourceVersion() != rivals.GetResourceVersion() {
			t.Errorf("it became %v", got)
		}
	}
}
