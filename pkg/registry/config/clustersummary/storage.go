// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clustersummary stores ClusterSummaries, one for every profile and
// cluster that match.
//
// The profile's spec is not stored in them. A revision of it is, once, and a
// summary names it; whoever reads a summary is shown the revision's spec in
// clusterProfileSpec. So every change of what a cluster is given is a change of
// the summary, with a resourceVersion and a generation of its own, while a
// thousand clusters cost one copy of the spec.
package clustersummary

import (
	"context"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry"
)

// REST serves ClusterSummaries.
type REST struct {
	*registry.REST
	show revealer
}

var _ interface {
	rest.StandardStorage
	rest.ShortNamesProvider
	rest.SingularNameProvider
	rest.TableConvertor
} = &REST{}

// StatusREST serves the status of ClusterSummaries.
type StatusREST struct {
	*registry.StatusREST
	show revealer
}

var _ rest.Patcher = &StatusREST{}

// NewREST returns the storage of ClusterSummaries and of their status.
func NewREST(typer runtime.ObjectTyper, getter generic.RESTOptionsGetter, revisions Revisions) (*REST, *StatusREST, error) {
	main, status := registry.NewStrategies(typer, kind)
	store, statusStore, err := registry.NewREST(registry.Resource[*config.ClusterSummary]{
		Group:      config.GroupName,
		Plural:     "clustersummaries",
		Singular:   "clustersummary",
		ShortNames: []string{"csummary"},
		New:        func() *config.ClusterSummary { return &config.ClusterSummary{} },
		NewList:    func() runtime.Object { return &config.ClusterSummaryList{} },
		Table:      table,
		Fields:     selectable,
	}, strategy{Strategy: main, revisions: revisions}, statusStrategy{StatusStrategy: status}, getter)
	if err != nil {
		return nil, nil, err
	}
	show := revealer{revisions: revisions}
	return &REST{REST: store, show: show}, &StatusREST{StatusREST: statusStore, show: show}, nil
}

// selectable are the fields that field selectors can ask for.
func selectable(summary *config.ClusterSummary) fields.Set {
	return fields.Set{
		"spec.clusterNamespace": summary.Spec.ClusterNamespace,
		"spec.clusterName":      summary.Spec.ClusterName,
		"spec.clusterType":      string(summary.Spec.ClusterType),
	}
}

// Every answer shows the profile's spec. The generic store has a Decorator for
// such a purpose, but that has no context, and watches on a busy cache pass it
// by: see revealer.watch.

// Get returns a summary with its profile's spec.
func (r *REST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.show.object(ctx)(r.REST.Get(ctx, name, options))
}

// List returns summaries with their profiles' specs.
func (r *REST) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	return r.show.object(ctx)(r.REST.List(ctx, options))
}

// Watch sends summaries with their profiles' specs.
func (r *REST) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	events, err := r.REST.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return r.show.watch(ctx, events), nil
}

// Create returns the new summary with its profile's spec.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validation rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	return r.show.object(ctx)(r.REST.Create(ctx, obj, validation, options))
}

// Update returns the changed summary with its profile's spec.
func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	obj, created, err := r.REST.Update(ctx, name, info, createValidation, updateValidation, forceAllowCreate, options)
	obj, err = r.show.object(ctx)(obj, err)
	return obj, created, err
}

// Delete returns the summary as it was, or is about to be, with its profile's
// spec.
func (r *REST) Delete(ctx context.Context, name string, validation rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	obj, deleted, err := r.REST.Delete(ctx, name, validation, options)
	obj, err = r.show.object(ctx)(obj, err)
	return obj, deleted, err
}

// Get returns a summary with its profile's spec.
func (r *StatusREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.show.object(ctx)(r.StatusREST.Get(ctx, name, options))
}

// Update returns the changed summary with its profile's spec.
func (r *StatusREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	obj, created, err := r.StatusREST.Update(ctx, name, info, createValidation, updateValidation, forceAllowCreate, options)
	obj, err = r.show.object(ctx)(obj, err)
	return obj, created, err
}
