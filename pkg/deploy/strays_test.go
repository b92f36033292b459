// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// stray is a ConfigMap as Muster applied it for an owner.
func stray(t *testing.T, name string, by inventory.Owner, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	t.Helper()
	obj := configMap(t, name, "1").Content.DeepCopy()
	mark(obj, by, Resources, inventory.Source{Kind: "Secret", Namespace: "civo", Name: "manifests", Tier: 7}, "hash")
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply}})
	for _, change := range changes {
		change(obj)
	}
	return obj
}

func (b *bench) adoptStrays(by inventory.Owner) []string {
	b.t.Helper()
	adopted, err := b.deployer.AdoptStrays(context.Background(), b.cluster)
	if err != nil {
		b.t.Errorf("AdoptStrays: %v", err)
	}
	var names []string
	for _, key := range adopted[by.Key()] {
		names = append(names, key.Name)
	}
	return names
}

func TestStraysAreAdoptedAndPruned(t *testing.T) {
	b := newBench(t)
	request := Request{Revision: "web-1", Objects: resources(configMap(t, "a", "1"))}
	b.mustDeploy(request)
	other := owner("db", 100)
	b.mustDeploy(Request{Owner: other, Objects: resources(configMap(t, "other", "1"))})
	web := owner("web", 100)
	for _, obj := range []*unstructured.Unstructured{
		stray(t, "stray", web),
		stray(t, "others", other),
		stray(t, "copied", web, func(o *unstructured.Unstructured) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: metav1.ManagedFieldsOperationApply}})
		}),
		stray(t, "updated", web, func(o *unstructured.Unstructured) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationUpdate}})
		}),
		stray(t, "unlabelled", web, func(o *unstructured.Unstructured) { o.SetLabels(nil) }),
		stray(t, "going", web, func(o *unstructured.Unstructured) { o.SetDeletionTimestamp(&metav1.Time{Time: metav1.Now().Time}) }),
	} {
		b.wire.put(configMapPath(obj.GetName()), obj)
	}

	b.restart()
	if got := b.adoptStrays(web); !slices.Equal(got, []string{"stray"}) {
		t.Errorf("adopted %v, want the stray alone", got)
	}
	entry := b.record(web).Object(inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "stray"})
	if entry == nil {
		t.Fatalf("the record has %v", keys(b.record(web)))
	}
	want := inventory.Source{Kind: "Secret", Namespace: "civo", Name: "manifests", Tier: 7}
	if entry.Source != want || entry.Feature != string(Resources) || entry.Version != "v1" || entry.ContentHash != "" || entry.UID == "" {
		t.Errorf("the entry is %+v", entry)
	}
	if got := b.adoptStrays(web); len(got) > 0 {
		t.Errorf("adopted again: %v", got)
	}
	b.wire.take()
	if result := b.mustDeploy(request); result.Pruned != 1 || b.wire.get(configMapPath("stray")) != nil {
		t.Errorf("pruned %d, and the stray is there: %v", result.Pruned, b.wire.get(configMapPath("stray")) != nil)
	}
	if got, want := b.wire.writes(), []string{"DELETE " + configMapPath("stray")}; !slices.Equal(got, want) {
		t.Errorf("writes %v, want %v", got, want)
	}
}

func TestAStrayThatIsWantedStays(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"))})
	uid := b.wire.put(configMapPath("b"), stray(t, "b", owner("web", 100))).GetUID()
	b.adoptStrays(owner("web", 100))
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1"), configMap(t, "b", "2"))})
	if live := b.wire.get(configMapPath("b")); live == nil || live.GetUID() != uid {
		t.Errorf("it is %v, want the same object", live)
	}
	if got := keys(b.record(owner("web", 100))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the record has %v", got)
	}
}

func TestAnOwnerWithoutARecordHasNoStrays(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Owner: owner("db", 100), Objects: resources(configMap(t, "other", "1"))})
	b.wire.put(configMapPath("stray"), stray(t, "stray", owner("web", 100)))
	if got := b.adoptStrays(owner("web", 100)); len(got) > 0 || b.record(owner("web", 100)) != nil {
		t.Errorf("adopted %v", got)
	}
}

func TestStraysOfAllOwnersAreFoundWithOneListOfEachKind(t *testing.T) {
	b := newBench(t)
	owners := []inventory.Owner{owner("web", 100), owner("db", 100), owner("dns", 100)}
	for _, by := range owners {
		secret := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: "+by.Name+", namespace: apps}\n")
		b.mustDeploy(Request{Owner: by, Objects: resources(configMap(t, by.Name, "1"), secret)})
		b.wire.put(configMapPath("stray-of-"+by.Name), stray(t, "stray-of-"+by.Name, by))
	}
	b.wire.take()
	adopted, err := b.deployer.AdoptStrays(context.Background(), b.cluster)
	if err != nil {
		t.Fatal(err)
	}
	var lists []string
	for _, req := range b.wire.take() {
		lists = append(lists, req.Path)
	}
	slices.Sort(lists)
	if want := []string{"/api/v1/configmaps", "/api/v1/secrets"}; !slices.Equal(lists, want) {
		t.Errorf("requests %v, want %v", lists, want)
	}
	for _, by := range owners {
		if got := adopted[by.Key()]; len(got) != 1 || got[0].Name != "stray-of-"+by.Name || b.record(by).Object(got[0]) == nil {
			t.Errorf("%s: adopted %v", by, got)
		}
	}
}

// TestWhatCannotBeListedIsNoReason to lose what was found.
func TestWhatCannotBeListedIsNoReason(t *testing.T) {
	b := newBench(t)
	web := owner("web", 100)
	secret := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: apps}\n")
	b.mustDeploy(Request{Objects: resources(secret, configMap(t, "a", "1"))})
	b.wire.put(configMapPath("stray"), stray(t, "stray", web))
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Path == "/api/v1/secrets" {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", nil)
		}
		return nil
	}
	adopted, err := b.deployer.AdoptStrays(context.Background(), b.cluster)
	if len(adopted[web.Key()]) != 1 || !apierrors.IsForbidden(err) {
		t.Errorf("adopted %v, %v, want the stray and what could not be listed", adopted, err)
	}
}
