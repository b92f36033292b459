// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestDeployCreatesMissingNamespaces(t *testing.T) {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: fresh}\n"
	b := newBench(t)
	refused := object(t, text)
	refused.SkipNamespaceCreation = true
	if result := b.deploy(Request{Objects: resources(refused)}); !apierrors.IsNotFound(result.Features[Resources].Err) {
		t.Errorf("error %v", result.Features[Resources].Err)
	}
	b.mustDeploy(Request{Objects: resources(object(t, text))})
	namespace := b.wire.get("/api/v1/namespaces/fresh")
	if namespace == nil || len(namespace.GetAnnotations()) > 0 {
		t.Fatalf("namespace %v", namespace)
	}
	// It is nobody's: pruning leaves it.
	b.wire.take()
	b.mustDeploy(Request{})
	if diff := cmp.Diff([]string{"DELETE /api/v1/namespaces/fresh/configmaps/a"}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestDeployGivesObjectsTheirNamespace(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Objects: resources(
		object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
		object(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: fresh, namespace: apps}\n"),
	)})
	if diff := cmp.Diff([]string{"PATCH /api/v1/namespaces/default/configmaps/a", "PATCH /api/v1/namespaces/fresh"}, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestDeployAppliesObjectsOfAKindThatTheListDefines(t *testing.T) {
	b := newBench(t)
	mapper := newMapper()
	b.cluster.Mapper = mapper // which knows no Widget, before or after
	b.mustDeploy(Request{Objects: resources(
		object(t, "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: first, namespace: apps}\n"),
	), Charts: ChartList{}}.with(object(t, widgetCRD)))
	want := []string{
		"PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.io",
		"PATCH /apis/example.io/v1/namespaces/apps/widgets/first",
	}
	if diff := cmp.Diff(want, b.wire.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if mapper.resets == 0 {
		t.Error("whoever shares the mapper was not told of the new kind")
	}
}

func TestDeployRefusesWhatCannotBeApplied(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"no name":      {"apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n", "generateName"},
		"boolean name": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: on}\n", "quote it"},
		"no kind":      {"apiVersion: v1\nmetadata: {name: a}\n", "no kind"},
		"unknown kind": {"apiVersion: example.io/v1\nkind: Gadget\nmetadata: {name: a}\n", "Gadget"},
		"label":        {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {n: 1, m: x}}\n", "metadata.labels"},
		"annotation":   {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {n: true}}\n", "metadata.annotations"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			result := b.deploy(Request{Objects: resources(configMap(t, "before", "1"), object(t, tc.text), configMap(t, "after", "1"))})
			err := result.Features[Resources].Err
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "ConfigMap civo/manifests") {
				t.Errorf("error %v names neither the problem nor the source", err)
			}
			if diff := cmp.Diff([]string{"PATCH " + configMapPath("before")}, b.wire.writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeployMasksSecrets(t *testing.T) {
	b := newBench(t)
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method != http.MethodPatch {
			return nil
		}
		return apierrors.NewBadRequest(`data: illegal value "aHVudGVyMg==", stringData: "correct horse"`)
	}
	result := b.deploy(Request{Objects: resources(object(t,
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: apps}\ndata: {p: aHVudGVyMg==}\nstringData: {q: correct horse}\n"))})
	err := result.Features[Resources].Err
	if !apierrors.IsBadRequest(err) {
		t.Fatalf("error %v", err)
	}
	for _, secret := range []string{"aHVudGVyMg", "hunter2", "correct horse"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error carries %q: %v", secret, err)
		}
	}
}

// An object of another kind can come from a Secret as well.
func TestDeployMasksWhatASecretHolds(t *testing.T) {
	b := newBench(t)
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method != http.MethodPatch {
			return nil
		}
		return apierrors.NewBadRequest(`ConfigMap "c" is invalid: data.p: Invalid value: "correct horse"`)
	}
	o := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: apps}\ndata: {p: correct horse}\n")
	o.Source.Kind = "Secret"
	err := b.deploy(Request{Objects: resources(o)}).Features[Resources].Err
	if !apierrors.IsBadRequest(err) {
		t.Fatalf("error %v", err)
	}
	if strings.Contains(err.Error(), "correct horse") || !strings.Contains(err.Error(), `ConfigMap "c" is invalid: data.p`) {
		t.Errorf("the error says %v", err)
	}
}

// with puts an object in front of the first list.
func (r Request) with(o Object) Request {
	r.Objects[0].Objects = append([]Object{o}, r.Objects[0].Objects...)
	return r
}
