// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Object is what is stored: an object of the API in its internal form.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kind is a kind of object with a spec and a status, as far as its policy goes.
// All fields are required but Warnings.
type Kind[T Object] struct {
	// Group is the API group.
	Group string
	// Namespaced says whether its objects live in namespaces.
	Namespaced bool

	// Spec and Status point to the parts of an object.
	Spec, Status func(T) any
	// CopySpec and CopyStatus make a part of one object that of another;
	// ClearStatus leaves none.
	CopySpec, CopyStatus func(to, from T)
	ClearStatus          func(T)

	// Validate is for new objects, ValidateUpdate for changes of anything but
	// the status, ValidateStatus for changes of the status.
	Validate       func(T) field.ErrorList
	ValidateUpdate func(new, old T) field.ErrorList
	ValidateStatus func(new, old T) field.ErrorList

	// Warnings are for whoever writes a spec; those of a stored one are not
	// repeated.
	Warnings func(T) []string
}

// Strategy is the policy for everything but the status of a kind: who writes
// an object keeps its status, and a new spec is a new generation.
type Strategy[T Object] struct {
	runtime.ObjectTyper
	names.NameGenerator

	kind Kind[T]
}

var _ interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
	rest.RESTDeleteStrategy
	rest.ResetFieldsStrategy
} = Strategy[Object]{}

// NewStrategies returns the policy of a kind, and that of its status. typer
// knows its types.
func NewStrategies[T Object](typer runtime.ObjectTyper, kind Kind[T]) (Strategy[T], StatusStrategy[T]) {
	strategy := Strategy[T]{ObjectTyper: typer, NameGenerator: names.SimpleNameGenerator, kind: kind}
	return strategy, StatusStrategy[T]{Strategy: strategy}
}

// NamespaceScoped says whether objects of the kind live in namespaces.
func (s Strategy[T]) NamespaceScoped() bool { return s.kind.Namespaced }

// AllowCreateOnUpdate refuses to create by PUT, as almost every kind of
// Kubernetes does; server-side apply creates all the same.
func (Strategy[T]) AllowCreateOnUpdate(context.Context) bool { return false }

// AllowUnconditionalUpdate lets users replace an object without saying which
// version they saw.
func (Strategy[T]) AllowUnconditionalUpdate(context.Context) bool { return true }

// PrepareForCreate leaves no status: it says what controllers have seen.
func (s Strategy[T]) PrepareForCreate(_ context.Context, obj runtime.Object) {
	object := obj.(T)
	s.kind.ClearStatus(object)
	object.SetGeneration(1)
}

// PrepareForUpdate keeps the status, and counts generations of the spec.
func (s Strategy[T]) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	object, oldObject := obj.(T), old.(T)
	s.kind.CopyStatus(object, oldObject)
	if !apiequality.Semantic.DeepEqual(s.kind.Spec(object), s.kind.Spec(oldObject)) {
		object.SetGeneration(oldObject.GetGeneration() + 1)
	}
}

// Validate checks a new object.
func (s Strategy[T]) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return s.kind.Validate(obj.(T))
}

// ValidateUpdate checks a changed object.
func (s Strategy[T]) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return s.kind.ValidateUpdate(obj.(T), old.(T))
}

// WarningsOnCreate are about the spec.
func (s Strategy[T]) WarningsOnCreate(_ context.Context, obj runtime.Object) []string {
	return s.warnings(obj.(T))
}

// WarningsOnUpdate are about a spec that changes: whoever only labels an
// object has heard them before, and so has every controller.
func (s Strategy[T]) WarningsOnUpdate(_ context.Context, obj, old runtime.Object) []string {
	if apiequality.Semantic.DeepEqual(s.kind.Spec(obj.(T)), s.kind.Spec(old.(T))) {
		return nil
	}
	return s.warnings(obj.(T))
}

func (s Strategy[T]) warnings(object T) []string {
	if s.kind.Warnings == nil {
		return nil
	}
	return s.kind.Warnings(object)
}

// Canonicalize changes nothing.
func (Strategy[T]) Canonicalize(runtime.Object) {}

// GetResetFields is the status.
func (s Strategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return ResetFields(s.kind.Group, fieldpath.MakePathOrDie("status"))
}

// StatusStrategy is the policy for the status of a kind: nothing else changes.
type StatusStrategy[T Object] struct {
	Strategy[T]
}

var _ interface {
	rest.RESTUpdateStrategy
	rest.ResetFieldsStrategy
} = StatusStrategy[Object]{}

// AllowUnconditionalUpdate wants the version that a status was decided on: a
// controller that was overtaken must not write what it saw before.
func (StatusStrategy[T]) AllowUnconditionalUpdate(context.Context) bool { return false }

// ControllerManager is the field manager of Muster's controllers: what their
// User-Agent begins with.
const ControllerManager = "muster"

// PrepareForUpdate keeps the spec and what belongs to it. Which fields of a
// status are Muster's own is not noted: all of them are, and the note, which is
// kept in memory and in etcd for each cluster, would be longer than the status.
func (s StatusStrategy[T]) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	object, oldObject := obj.(T), old.(T)
	s.kind.CopySpec(object, oldObject)
	object.SetLabels(oldObject.GetLabels())
	object.SetAnnotations(oldObject.GetAnnotations())
	object.SetFinalizers(oldObject.GetFinalizers())
	object.SetOwnerReferences(oldObject.GetOwnerReferences())
	object.SetManagedFields(slices.DeleteFunc(object.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == ControllerManager && entry.Subresource == "status" && entry.Operation == metav1.ManagedFieldsOperationUpdate
	}))
}

// ValidateUpdate checks the status.
func (s StatusStrategy[T]) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return s.kind.ValidateStatus(obj.(T), old.(T))
}

// WarningsOnUpdate has none: the spec is not the writer's.
func (StatusStrategy[T]) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// GetResetFields is the spec and what belongs to it.
func (s StatusStrategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return ResetFields(s.kind.Group,
		fieldpath.MakePathOrDie("spec"),
		fieldpath.MakePathOrDie("metadata", "labels"),
		fieldpath.MakePathOrDie("metadata", "annotations"),
		fieldpath.MakePathOrDie("metadata", "finalizers"),
		fieldpath.MakePathOrDie("metadata", "ownerReferences"),
	)
}

// ResetFields says for every version that a group is served at which fields a
// strategy leaves as they are. Whoever applies one must not come to own it.
func ResetFields(group string, paths ...fieldpath.Path) map[fieldpath.APIVersion]*fieldpath.Set {
	set := fieldpath.NewSet(paths...)
	fields := map[fieldpath.APIVersion]*fieldpath.Set{}
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		fields[fieldpath.APIVersion(group+"/"+version)] = set
	}
	return fields
}
