// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Compute returns all objects of a view in a namespace, or in all where it is
// empty, in any order.
type Compute[T Object] func(ctx context.Context, namespace string) ([]T, error)

// View serves a namespaced kind that is computed when it is read: get and list,
// and no watch, because nothing tells when an answer would be another one.
type View[T Object] struct {
	resource Resource[T]
	compute  Compute[T]
}

var _ interface {
	rest.Storage
	rest.Scoper
	rest.Getter
	rest.Lister
	rest.ShortNamesProvider
	rest.CategoriesProvider
	rest.SingularNameProvider
} = &View[Object]{}

// NewView returns the view of a resource.
func NewView[T Object](resource Resource[T], compute Compute[T]) *View[T] {
	return &View[T]{resource: resource, compute: compute}
}

// New returns an empty object.
func (v *View[T]) New() runtime.Object { return v.resource.New() }

// NewList returns an empty list.
func (v *View[T]) NewList() runtime.Object { return v.resource.NewList() }

// Destroy has nothing to end.
func (v *View[T]) Destroy() {}

// NamespaceScoped is true of all views.
func (v *View[T]) NamespaceScoped() bool { return true }

// GetSingularName is the resource's name for one object.
func (v *View[T]) GetSingularName() string { return v.resource.Singular }

// ShortNames are what kubectl takes for the resource's name.
func (v *View[T]) ShortNames() []string { return v.resource.ShortNames }

// Categories are the groups of resources that kubectl lists it under.
func (v *View[T]) Categories() []string { return v.resource.Categories }

// ConvertToTable prints the view.
func (v *View[T]) ConvertToTable(ctx context.Context, object, options runtime.Object) (*metav1.Table, error) {
	return v.resource.Table.ConvertToTable(ctx, object, options)
}

// Get computes one object.
func (v *View[T]) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	objects, err := v.compute(ctx, request.NamespaceValue(ctx))
	if err != nil {
		return nil, v.failed(err)
	}
	for _, object := range objects {
		if object.GetName() == name {
			return object, nil
		}
	}
	return nil, apierrors.NewNotFound(v.groupResource(), name)
}

// List computes all objects and returns those that were asked for, ordered by
// namespace and name. Every answer is the newest: that is not older than any
// resourceVersion that a caller may have.
func (v *View[T]) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	if options == nil {
		options = &metainternalversion.ListOptions{}
	}
	if options.ResourceVersionMatch == metav1.ResourceVersionMatchExact {
		return nil, apierrors.NewBadRequest("resourceVersionMatch: Exact is not possible for what is computed when it is read")
	}
	after, err := decodePosition(options.Continue)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	objects, err := v.compute(ctx, request.NamespaceValue(ctx))
	if err != nil {
		return nil, v.failed(err)
	}
	objects = slices.DeleteFunc(objects, func(object T) bool { return !v.selects(options, object) })
	slices.SortFunc(objects, func(a, b T) int { return positionOf(a).compare(positionOf(b)) })
	return v.page(objects, after, options.Limit)
}

// page returns at most limit objects behind a position, or all if limit is 0.
func (v *View[T]) page(objects []T, after *position, limit int64) (runtime.Object, error) {
	if after != nil {
		first, found := slices.BinarySearchFunc(objects, *after, func(object T, p position) int { return positionOf(object).compare(p) })
		if found {
			first++
		}
		objects = objects[first:]
	}
	listMeta := metav1.ListMeta{}
	if remaining := int64(len(objects)) - limit; limit > 0 && remaining > 0 {
		objects = objects[:limit]
		listMeta.Continue = positionOf(objects[limit-1]).encode()
		listMeta.RemainingItemCount = &remaining
	}
	items := make([]runtime.Object, len(objects))
	for i, object := range objects {
		items[i] = object
	}
	list := v.resource.NewList()
	if err := meta.SetList(list, items); err != nil {
		return nil, v.failed(err)
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return nil, v.failed(err)
	}
	accessor.SetContinue(listMeta.Continue)
	accessor.SetRemainingItemCount(listMeta.RemainingItemCount)
	return list, nil
}

// selects asks a list's selectors.
func (v *View[T]) selects(options *metainternalversion.ListOptions, object T) bool {
	if options.LabelSelector != nil && !options.LabelSelector.Matches(labels.Set(object.GetLabels())) {
		return false
	}
	if options.FieldSelector == nil || options.FieldSelector.Empty() {
		return true
	}
	set := fields.Set{}
	if v.resource.Fields != nil {
		set = v.resource.Fields(object)
	}
	set["metadata.name"], set["metadata.namespace"] = object.GetName(), object.GetNamespace()
	return options.FieldSelector.Matches(set)
}

func (v *View[T]) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: v.resource.Group, Resource: v.resource.Plural}
}

func (v *View[T]) failed(err error) error {
	return apierrors.NewInternalError(fmt.Errorf("compute %s: %w", v.groupResource(), err))
}

// position is where an object stands in a list, and what a continue token
// holds: the last object that was returned. It is good whatever becomes of that.
type position struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func positionOf(object metav1.Object) position {
	return position{Namespace: object.GetNamespace(), Name: object.GetName()}
}

func (p position) compare(other position) int {
	return cmp.Or(cmp.Compare(p.Namespace, other.Namespace), cmp.Compare(p.Name, other.Name))
}

func (p position) encode() string {
	// Two strings: this cannot fail.
	token, _ := json.Marshal(p)
	return base64.RawURLEncoding.EncodeToString(token)
}

// errContinue is for a token of somebody else.
var errContinue = errors.New("continue: is not a token that this server gave out; ask again without it")

// maxContinue bounds the tokens that are looked at: two names.
const maxContinue = 1024

// decodePosition returns nil where there is no token.
func decodePosition(token string) (*position, error) {
	if token == "" {
		return nil, nil
	}
	if len(token) > maxContinue {
		return nil, errContinue
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, errContinue
	}
	p := &position{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(p); err != nil || p.Name == "" {
		return nil, errContinue
	}
	return p, nil
}
