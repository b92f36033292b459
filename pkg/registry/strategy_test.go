// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// testKind is a set whose validation says which of its functions was asked.
func testKind() Kind[*lib.Set] {
	says := func(what string) field.ErrorList { return field.ErrorList{field.Required(field.NewPath(what), "")} }
	return Kind[*lib.Set]{
		Group:          lib.GroupName,
		Namespaced:     true,
		Spec:           func(s *lib.Set) any { return &s.Spec },
		Status:         func(s *lib.Set) any { return &s.Status },
		CopySpec:       func(to, from *lib.Set) { to.Spec = from.Spec },
		CopyStatus:     func(to, from *lib.Set) { to.Status = from.Status },
		ClearStatus:    func(s *lib.Set) { s.Status = lib.ClusterSetStatus{} },
		Validate:       func(*lib.Set) field.ErrorList { return says("create") },
		ValidateUpdate: func(_, _ *lib.Set) field.ErrorList { return says("update") },
		ValidateStatus: func(_, _ *lib.Set) field.ErrorList { return says("status") },
		Warnings:       func(*lib.Set) []string { return []string{"mind the set"} },
	}
}

// newSet is a stored set at generation 4 with everything that the two halves of
// an object have.
func newSet() *lib.Set {
	return &lib.Set{
		ObjectMeta: metav1.ObjectMeta{
			Name: "s", Namespace: "ns", Generation: 4, ResourceVersion: "7",
			Labels:          map[string]string{"l": "stored"},
			Annotations:     map[string]string{"a": "stored"},
			Finalizers:      []string{"stored"},
			OwnerReferences: []metav1.OwnerReference{{Name: "stored"}},
		},
		Spec:   lib.ClusterSetSpec{MaxReplicas: 1},
		Status: lib.ClusterSetStatus{SelectedClusterCount: 1, ObservedGeneration: 4},
	}
}

// rewritten is what somebody sends who changes all of it.
func rewritten() *lib.Set {
	s := newSet()
	s.Labels = map[string]string{"l": "sent"}
	s.Annotations = map[string]string{"a": "sent"}
	s.Finalizers = []string{"sent"}
	s.OwnerReferences = []metav1.OwnerReference{{Name: "sent"}}
	s.Spec.MaxReplicas = 2
	s.Status.SelectedClusterCount = 2
	return s
}

func TestCreateStartsWithoutStatusAtGenerationOne(t *testing.T) {
	strategy, _ := NewStrategies(runtime.NewScheme(), testKind())
	got := rewritten()
	strategy.PrepareForCreate(t.Context(), got)
	want := rewritten()
	want.Status = lib.ClusterSetStatus{}
	want.Generation = 1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
}

func TestUpdateKeepsStatus(t *testing.T) {
	strategy, _ := NewStrategies(runtime.NewScheme(), testKind())
	got := rewritten()
	strategy.PrepareForUpdate(t.Context(), got, newSet())
	want := rewritten()
	want.Status = newSet().Status
	want.Generation = 5
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
}

func TestStatusUpdateKeepsEverythingElse(t *testing.T) {
	_, strategy := NewStrategies(runtime.NewScheme(), testKind())
	got := rewritten()
	strategy.PrepareForUpdate(t.Context(), got, newSet())
	want := newSet()
	want.Status = rewritten().Status
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
}

func TestStatusWritesOfMusterAreNotTracked(t *testing.T) {
	_, status := NewStrategies(runtime.NewScheme(), testKind())
	entry := func(manager, subresource string, operation metav1.ManagedFieldsOperationType) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, Operation: operation}
	}
	others := []metav1.ManagedFieldsEntry{
		entry("kubectl", "status", metav1.ManagedFieldsOperationUpdate),
		entry(ControllerManager, "", metav1.ManagedFieldsOperationUpdate),
		entry(ControllerManager, "status", metav1.ManagedFieldsOperationApply),
	}
	got := rewritten()
	got.ManagedFields = append([]metav1.ManagedFieldsEntry{entry(ControllerManager, "status", metav1.ManagedFieldsOperationUpdate)}, others...)
	status.PrepareForUpdate(t.Context(), got, newSet())
	if diff := cmp.Diff(others, got.ManagedFields); diff != "" {
		t.Errorf("managed fields (-want +got):\n%s", diff)
	}
}

func TestGenerationCountsSpecsOnly(t *testing.T) {
	tests := map[string]struct {
		change func(*lib.Set)
		want   int64
	}{
		"nothing": {change: func(*lib.Set) {}, want: 4},
		"labels":  {change: func(s *lib.Set) { s.Labels = map[string]string{"x": "y"} }, want: 4},
		"status":  {change: func(s *lib.Set) { s.Status.SelectedClusterCount = 9 }, want: 4},
		"spec":    {change: func(s *lib.Set) { s.Spec.MaxReplicas = 9 }, want: 5},
		"an empty list for none": {change: func(s *lib.Set) {
			s.Spec.ClusterSelector.MatchLabels = map[string]string{}
		}, want: 4},
	}
	strategy, _ := NewStrategies(runtime.NewScheme(), testKind())
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := newSet()
			test.change(got)
			strategy.PrepareForUpdate(t.Context(), got, newSet())
			if got.Generation != test.want {
				t.Errorf("generation is %d, want %d", got.Generation, test.want)
			}
		})
	}
}

func TestEachWriteIsValidatedByItsOwnRules(t *testing.T) {
	main, status := NewStrategies(runtime.NewScheme(), testKind())
	for want, errs := range map[string]field.ErrorList{
		"create": main.Validate(t.Context(), newSet()),
		"update": main.ValidateUpdate(t.Context(), newSet(), newSet()),
		"status": status.ValidateUpdate(t.Context(), newSet(), newSet()),
	} {
		if len(errs) != 1 || errs[0].Field != want {
			t.Errorf("%s was validated by %v", want, errs)
		}
	}
}

func TestWarningsAreForWhoeverWritesASpec(t *testing.T) {
	main, status := NewStrategies(runtime.NewScheme(), testKind())
	labelled := newSet()
	labelled.Labels = nil
	silent := testKind()
	silent.Warnings = nil
	quiet, _ := NewStrategies(runtime.NewScheme(), silent)
	tests := map[string]struct {
		got  []string
		want int
	}{
		"create":                  {got: main.WarningsOnCreate(t.Context(), newSet()), want: 1},
		"new spec":                {got: main.WarningsOnUpdate(t.Context(), rewritten(), newSet()), want: 1},
		"same spec":               {got: main.WarningsOnUpdate(t.Context(), labelled, newSet())},
		"status":                  {got: status.WarningsOnUpdate(t.Context(), rewritten(), newSet())},
		"a kind without, created": {got: quiet.WarningsOnCreate(t.Context(), newSet())},
	}
	for name, test := range tests {
		if len(test.got) != test.want {
			t.Errorf("%s: warnings are %q, want %d", name, test.got, test.want)
		}
	}
}

// Who may write what without saying which version was seen: users may replace
// an object, controllers may not replace a status that they were late for.
func TestUnconditionalUpdates(t *testing.T) {
	main, status := NewStrategies(runtime.NewScheme(), testKind())
	if !main.AllowUnconditionalUpdate(t.Context()) {
		t.Error("kubectl replace of a manifest without resourceVersion is refused")
	}
	if status.AllowUnconditionalUpdate(t.Context()) {
		t.Error("a status can be written without the version that it was decided on")
	}
	if main.AllowCreateOnUpdate(t.Context()) || status.AllowCreateOnUpdate(t.Context()) {
		t.Error("PUT creates objects")
	}
}

func TestResetFieldsAreReportedForEveryVersion(t *testing.T) {
	main, status := NewStrategies(runtime.NewScheme(), testKind())
	tests := map[string]struct {
		got             map[fieldpath.APIVersion]*fieldpath.Set
		reset, notReset [][]any
	}{
		"main": {
			got:      main.GetResetFields(),
			reset:    [][]any{{"status"}},
			notReset: [][]any{{"spec"}, {"metadata", "labels"}},
		},
		"status": {
			got:      status.GetResetFields(),
			reset:    [][]any{{"spec"}, {"metadata", "labels"}, {"metadata", "annotations"}, {"metadata", "finalizers"}, {"metadata", "ownerReferences"}},
			notReset: [][]any{{"status"}},
		},
	}
	for name, test := range tests {
		for _, version := range []fieldpath.APIVersion{"lib.projectsveltos.io/v1beta1", "lib.projectsveltos.io/v1alpha1"} {
			set := test.got[version]
			if set == nil {
				t.Errorf("%s: nothing is reported for %s", name, version)
				continue
			}
			for _, path := range test.reset {
				if !set.Has(fieldpath.MakePathOrDie(path...)) {
					t.Errorf("%s: %v is left as it is and not reported", name, path)
				}
			}
			for _, path := range test.notReset {
				if set.Has(fieldpath.MakePathOrDie(path...)) {
					t.Errorf("%s: %v can be written and is reported as left alone", name, path)
				}
			}
		}
	}
}
