// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// CategoryFleet is what `kubectl get fleet` lists.
const CategoryFleet = "fleet"

// Resource is how a stored kind is called and printed. All fields are required
// but the names for convenience and Fields.
type Resource[T Object] struct {
	// Group is the API group.
	Group string
	// Plural and Singular are resource names in lower case.
	Plural, Singular string
	// ShortNames and Categories are what kubectl calls it besides.
	ShortNames, Categories []string
	// New and NewList return an empty object and an empty list.
	New     func() T
	NewList func() runtime.Object
	// Table prints it.
	Table Table[T]
	// Fields are what field selectors can ask for besides name and namespace.
	// The scheme has to know their labels as well.
	Fields func(T) fields.Set
}

// REST serves a stored kind.
type REST struct {
	*genericregistry.Store

	shortNames, categories []string
}

var _ interface {
	rest.StandardStorage
	rest.ShortNamesProvider
	rest.CategoriesProvider
	rest.SingularNameProvider
	rest.TableConvertor
} = &REST{}

// ShortNames are what kubectl takes for the resource's name.
func (r *REST) ShortNames() []string { return r.shortNames }

// Categories are the groups of resources that kubectl lists it under.
func (r *REST) Categories() []string { return r.categories }

// MainPolicy decides on writes of a kind, StatusPolicy on those of its status.
type (
	MainPolicy interface {
		rest.RESTCreateStrategy
		rest.RESTUpdateStrategy
		rest.ResetFieldsStrategy
	}
	StatusPolicy interface {
		rest.RESTUpdateStrategy
		rest.ResetFieldsStrategy
	}
)

// NewREST returns the storage of a kind and of its status. Its error names the
// kind.
func NewREST[T Object](resource Resource[T], policy MainPolicy, status StatusPolicy, getter generic.RESTOptionsGetter) (*REST, *StatusREST, error) {
	store := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return resource.New() },
		NewListFunc:               resource.NewList,
		DefaultQualifiedResource:  schema.GroupResource{Group: resource.Group, Resource: resource.Plural},
		SingularQualifiedResource: schema.GroupResource{Group: resource.Group, Resource: resource.Singular},
		CreateStrategy:            policy,
		UpdateStrategy:            policy,
		DeleteStrategy:            policy,
		ResetFieldsStrategy:       policy,
		TableConvertor:            resource.Table,
	}
	options := &generic.StoreOptions{RESTOptions: getter, AttrFunc: resource.attributes(policy.NamespaceScoped())}
	if err := store.CompleteWithOptions(options); err != nil {
		return nil, nil, fmt.Errorf("storage of %s: %w", store.DefaultQualifiedResource, err)
	}
	r := &REST{Store: store, shortNames: resource.ShortNames, categories: resource.Categories}
	return r, newStatusREST(store, status), nil
}

// attributes are what selectors of a list or watch look at.
func (r Resource[T]) attributes(namespaced bool) func(runtime.Object) (labels.Set, fields.Set, error) {
	return func(obj runtime.Object) (labels.Set, fields.Set, error) {
		object, ok := obj.(T)
		if !ok {
			return nil, nil, fmt.Errorf("%T is not of %s", obj, r.Plural)
		}
		set := fields.Set{}
		if r.Fields != nil {
			set = r.Fields(object)
		}
		set["metadata.name"] = object.GetName()
		if namespaced {
			set["metadata.namespace"] = object.GetNamespace()
		}
		return object.GetLabels(), set, nil
	}
}

// StatusREST serves the status subresource of a kind. Its store is a field and
// not embedded: everything else that a store can do, lists and deletions among
// it, would otherwise be served under /status too.
type StatusREST struct {
	store *genericregistry.Store
}

var _ interface {
	rest.Patcher
	rest.Storage
	rest.ResetFieldsStrategy
	rest.TableConvertor
} = &StatusREST{}

func newStatusREST(store *genericregistry.Store, policy StatusPolicy) *StatusREST {
	status := *store
	status.UpdateStrategy = policy
	status.ResetFieldsStrategy = policy
	return &StatusREST{store: &status}
}

// New returns an empty object of the kind.
func (r *StatusREST) New() runtime.Object { return r.store.New() }

// Destroy does nothing: the underlying store is the kind's, which ends it.
func (r *StatusREST) Destroy() {}

// Get returns the object, status and all.
func (r *StatusREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.store.Get(ctx, name, options)
}

// Update writes the status of an object that exists. It never creates one: a
// status without an object would be an object that nobody validated.
func (r *StatusREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.store.Update(ctx, name, info, createValidation, updateValidation, false, options)
}

// GetResetFields returns the fields that a write of the status leaves alone.
func (r *StatusREST) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.store.GetResetFields()
}

// ConvertToTable prints what the kind's own table prints.
func (r *StatusREST) ConvertToTable(ctx context.Context, object, options runtime.Object) (*metav1.Table, error) {
	return r.store.ConvertToTable(ctx, object, options)
}
