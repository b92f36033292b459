// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registrytest checks what the policy of every stored kind has to hold.
package registrytest

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/randfill"

	configfuzzer "github.com/muster-project/muster/pkg/apis/config/fuzzer"
	libfuzzer "github.com/muster-project/muster/pkg/apis/lib/fuzzer"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/registry"
)

// rounds is how many random objects each rule is tried on.
const rounds = 50

// NewFiller returns what fills objects of both groups, the same in every run.
func NewFiller() *randfill.Filler {
	funcs := fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, libfuzzer.Funcs, configfuzzer.Funcs)
	return fuzzer.FuzzerFor(funcs, rand.NewSource(1), scheme.Codecs)
}

// Isolation checks that a write of an object leaves its status, and a write of
// the status everything else, whatever is in them.
func Isolation[T registry.Object](t *testing.T, kind registry.Kind[T], empty func() T) {
	t.Helper()
	main, status := registry.NewStrategies(scheme.Scheme, kind)
	filler := NewFiller()
	for range rounds {
		stored, sent := empty(), empty()
		filler.Fill(stored)
		filler.Fill(sent)

		created := sent.DeepCopyObject().(T)
		main.PrepareForCreate(t.Context(), created)
		equal(t, "status of a new object", kind.Status(empty()), kind.Status(created))
		equal(t, "spec of a new object", kind.Spec(sent), kind.Spec(created))
		if created.GetGeneration() != 1 {
			t.Errorf("a new object has generation %d", created.GetGeneration())
		}

		updated := sent.DeepCopyObject().(T)
		main.PrepareForUpdate(t.Context(), updated, stored)
		equal(t, "status of an updated object", kind.Status(stored), kind.Status(updated))
		equal(t, "spec of an updated object", kind.Spec(sent), kind.Spec(updated))
		equal(t, "labels of an updated object", sent.GetLabels(), updated.GetLabels())

		written := sent.DeepCopyObject().(T)
		status.PrepareForUpdate(t.Context(), written, stored)
		equal(t, "status of a written status", kind.Status(sent), kind.Status(written))
		equal(t, "spec of a written status", kind.Spec(stored), kind.Spec(written))
		equal(t, "labels of a written status", stored.GetLabels(), written.GetLabels())
		equal(t, "finalizers of a written status", stored.GetFinalizers(), written.GetFinalizers())

		if t.Failed() {
			return
		}
	}
}

// equal is semantic, as the API server's is: an empty list is none.
func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if !apiequality.Semantic.DeepEqual(want, got) {
		t.Errorf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}

// ResetFields checks that what a policy leaves as it is is reported at every
// version that the kind is served at.
func ResetFields(t *testing.T, group string, policies ...rest.ResetFieldsStrategy) {
	t.Helper()
	for _, policy := range policies {
		reported := policy.GetResetFields()
		versions := scheme.Scheme.PrioritizedVersionsForGroup(group)
		if len(reported) != len(versions) {
			t.Errorf("%d versions are reported, %d are served", len(reported), len(versions))
		}
		for version := range reported {
			if !slices.ContainsFunc(versions, func(gv schema.GroupVersion) bool { return gv.String() == string(version) }) {
				t.Errorf("%s is reported and not served", version)
			}
		}
	}
}

// Selectable checks that the fields that a kind can be selected by, and no
// others, are accepted at every version.
func Selectable(t *testing.T, kind schema.GroupKind, set fields.Set) {
	t.Helper()
	for _, gv := range scheme.Scheme.PrioritizedVersionsForGroup(kind.Group) {
		for field := range set {
			if _, _, err := scheme.Scheme.ConvertFieldLabel(gv.WithKind(kind.Kind), field, "x"); err != nil {
				t.Errorf("%s cannot be selected by %s at %s: %v", kind.Kind, field, gv.Version, err)
			}
		}
		if _, _, err := scheme.Scheme.ConvertFieldLabel(gv.WithKind(kind.Kind), "spec.nonsense", "x"); err == nil {
			t.Errorf("%s can be selected by a field that does not exist, at %s", kind.Kind, gv.Version)
		}
	}
}
