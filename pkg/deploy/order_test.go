// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// ordered has something in each list.
func ordered(t *testing.T, order ...Feature) Request {
	return Request{
		FeatureOrder: order,
		Objects: []ObjectList{
			{Feature: Resources, Objects: []Object{configMap(t, "raw", "1")}},
			{Feature: Kustomize, Objects: []Object{configMap(t, "built", "1")}},
		},
		Charts: ChartList{Charts: []Chart{chart("nginx", "1")}},
	}
}

func TestListsAreDeployedInTheirOrder(t *testing.T) {
	for _, order := range [][]Feature{
		{Helm, Resources, Kustomize}, {Kustomize, Helm, Resources}, {Resources, Kustomize, Helm},
	} {
		b := newBench(t)
		var got []Feature
		b.charts.hook = func(call string) {
			if strings.HasPrefix(call, "deploy") {
				got = append(got, Helm)
			}
		}
		b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
			if req.Method == http.MethodPatch && strings.HasSuffix(req.Path, "/raw") {
				got = append(got, Resources)
			} else if req.Method == http.MethodPatch {
				got = append(got, Kustomize)
			}
			return nil
		}
		b.mustDeploy(ordered(t, order...))
		if diff := cmp.Diff(order, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	}
}

func TestAListWaitsForThoseBeforeIt(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"), configMap(t, "raw", "0"))})
	b.wire.take()
	broken := errors.New("no such chart")
	b.charts.fail["load nginx"] = broken
	request := ordered(t, Helm, Resources)
	result := b.deploy(request)
	var waiting *WaitingError
	if err := result.Features[Resources].Err; !errors.As(err, &waiting) || waiting.For != Helm {
		t.Errorf("Resources: %v", err)
	}
	if !errors.Is(result.Features[Helm].Err, broken) || result.Features[Kustomize].Err != nil {
		t.Errorf("results %v", result.Features)
	}
	// What the order does not name runs beside it; nothing is pruned.
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("built")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	raw := result.Record.Object(inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "raw"})
	if raw == nil || raw.ContentHash == "" {
		t.Errorf("a list that was not begun left %+v in the inventory", raw)
	}

	// A list that goes on after a failure has not succeeded either.
	request.ContinueOnError = true
	if err := b.deploy(request).Features[Resources].Err; !errors.As(err, &waiting) {
		t.Errorf("Resources: %v", err)
	}
	b.wire.take()
	delete(b.charts.fail, "load nginx")
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("raw"), "DELETE " + configMapPath("old")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// An order whose lists are missing from the profile stops nobody.
func TestAnOrderMayNameWhatIsNotThere(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{FeatureOrder: []Feature{Helm, Kustomize, Resources}, Objects: resources(configMap(t, "a", "1"))})
	if b.wire.get(configMapPath("a")) == nil {
		t.Error("nothing was applied")
	}
}

func TestListsAreWithdrawnInTheOppositeOrder(t *testing.T) {
	for _, tc := range []struct {
		order []Feature
		want  string
	}{
		{nil, "built raw release apps/nginx"},
		{[]Feature{Helm, Resources, Kustomize}, "built raw release apps/nginx"},
		{[]Feature{Resources, Helm, Kustomize}, "built release apps/nginx raw"},
		{[]Feature{Resources, Helm}, "built release apps/nginx raw"},
		{[]Feature{Kustomize}, "built raw release apps/nginx"},
	} {
		objects := []inventory.Object{
			{ObjectKey: inventory.ObjectKey{Group: crdGroup, Kind: crdKind, Name: "kind"}, Feature: string(Kustomize)},
			{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Name: "raw"}, Feature: string(Resources)},
			{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Name: "built"}, Feature: string(Kustomize)},
		}
		var got []string
		for _, r := range removalOrder(objects, []inventory.Release{{ReleaseKey: inventory.ReleaseKey{Namespace: "apps", Name: "nginx"}}}, names(tc.order)) {
			if r.object != nil {
				got = append(got, r.object.Name)
			} else {
				got = append(got, r.release.ReleaseKey.String())
			}
		}
		if diff := cmp.Diff(tc.want+" kind", strings.Join(got, " ")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.order, diff)
		}
	}
}

func TestAHaltedListIsRunWhenItChanges(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"))})
	request := Request{Objects: resources(configMap(t, "a", "1"))}
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch {
			return apierrors.NewBadRequest("no")
		}
		return nil
	}
	failed := b.deploy(request).Features[Resources]
	b.wire.intercept = nil
	b.wire.take()
	given := errors.New("given up")
	request.Halted = map[Feature]Halt{Resources: {Hash: failed.Hash, Err: given}}
	if err := b.deploy(request).Features[Resources].Err; !errors.Is(err, given) {
		t.Errorf("error %v", err)
	}
	if writes := b.wire.writes(); len(writes) > 0 {
		t.Errorf("a halted list wrote %v", writes)
	}
	request.Objects = resources(configMap(t, "a", "2"))
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a"), "DELETE " + configMapPath("old")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestHoldKeepsWhatIsNotWanted(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"))})
	b.wire.take()
	request := Request{Objects: resources(configMap(t, "a", "1")), Hold: true}
	if result := b.mustDeploy(request); result.Held != 1 || result.Pruned != 0 {
		t.Errorf("held %d, pruned %d", result.Held, result.Pruned)
	}
	request.Hold = false
	if result := b.mustDeploy(request); result.Held != 0 || result.Pruned != 1 {
		t.Errorf("held %d, pruned %d", result.Held, result.Pruned)
	}
}

// Kinds are applied before everything else of their list, and in any list before the
// objects of them.
func TestKindsComeFirst(t *testing.T) {
	widget := object(t, "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: first, namespace: apps}\n")
	want := []string{
		"PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.io",
		"PATCH /apis/example.io/v1/namespaces/apps/widgets/first",
	}
	for name, lists := range map[string][]ObjectList{
		"in one list":  resources(widget, object(t, widgetCRD)),
		"in two lists": {{Feature: Resources, Objects: []Object{widget}}, {Feature: Kustomize, Objects: []Object{object(t, widgetCRD)}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustDeploy(Request{Objects: lists})
			if diff := cmp.Diff(want, b.wire.writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			// As they were written, they have not changed.
			b.mustDeploy(Request{Objects: lists})
			if writes := b.wire.writes(); len(writes) > 0 {
				t.Errorf("an unchanged list wrote %v", writes)
			}
		})
	}
}

func TestGoingOnAfterConflictsStopsAtErrors(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Owner: owner("first", 100), Objects: resources(configMap(t, "taken", "1"))})
	b.mustDeploy(Request{Owner: owner("second", 100), Objects: resources(configMap(t, "old", "1"))})
	b.wire.take()
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch && strings.HasSuffix(req.Path, "/bad") {
			return apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "bad", nil)
		}
		return nil
	}
	request := Request{
		Owner:   owner("second", 100),
		Objects: resources(configMap(t, "taken", "2"), configMap(t, "good", "1"), configMap(t, "bad", "1"), configMap(t, "last", "1")),
	}
	for _, tc := range []struct {
		onConflict, onError bool
		want                []string
	}{
		{false, false, nil},
		{true, false, []string{"good", "bad"}},
		{false, true, []string{"bad", "last"}},
	} {
		request.ContinueOnConflict, request.ContinueOnError = tc.onConflict, tc.onError
		result := b.deploy(request)
		var want []string
		for _, name := range tc.want {
			want = append(want, "PATCH "+configMapPath(name))
		}
		if diff := cmp.Diff(want, b.wire.writes()); diff != "" {
			t.Errorf("onConflict %v, onError %v: writes (-want +got):\n%s", tc.onConflict, tc.onError, diff)
		}
		if !slices.Contains(keys(result.Record), "old") || result.Pruned != 0 {
			t.Error("pruned although not everything was deployed")
		}
	}
}

// What cannot be applied at all keeps the rest of a list from being deployed, unless it
// is told to go on.
func TestGoingOnAfterWhatCannotBeResolved(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"))})
	b.wire.take()
	request := Request{Objects: resources(
		object(t, "apiVersion: example.io/v1\nkind: Gadget\nmetadata: {name: x}\n"), configMap(t, "a", "1"),
		object(t, "apiVersion: example.io/v1\nkind: Gizmo\nmetadata: {name: y}\n"),
	), ContinueOnError: true}
	result := b.deploy(request)
	err := result.Features[Resources].Err
	if err == nil || !strings.Contains(err.Error(), "Gadget") || !strings.Contains(err.Error(), "Gizmo") || result.Pruned != 0 {
		t.Errorf("error %v, pruned %d", err, result.Pruned)
	}
	if diff := cmp.Diff([]string{"PATCH " + configMapPath("a")}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// Helm panics over some charts. That is the error of one list, and not the end of the
// process with all that it has under way.
func TestAPanicInAListIsItsError(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(configMap(t, "old", "1"))})
	b.charts.hook = func(call string) {
		if call == "deploy nginx" {
			panic("hunter22 is not a map")
		}
	}
	result := b.deploy(ordered(t))
	err := result.Features[Helm].Err
	if err == nil || !strings.Contains(err.Error(), "panicked with a string") || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("error %v", err)
	}
	if b.wire.get(configMapPath("raw")) == nil || b.wire.get(configMapPath("old")) == nil {
		t.Error("another list was not deployed, or something was pruned")
	}
	b.charts.hook = func(string) { panic(error(new(runtime.PanicNilError))) }
	if err := b.deploy(ordered(t)).Features[Helm].Err; err == nil || !strings.Contains(err.Error(), "nil argument") {
		t.Errorf("an error of the runtime: %v", err)
	}
	b.charts.hook = nil
	b.mustDeploy(ordered(t))
}
