// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package set stores Sets, the sets of clusters of one namespace,
// and computes what they select.
package set

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/registry"
)

// NewREST returns the storage of Sets and of their status.
func NewREST(typer runtime.ObjectTyper, getter generic.RESTOptionsGetter) (*registry.REST, *registry.StatusREST, error) {
	strategy, status := registry.NewStrategies(typer, kind)
	return registry.NewREST(registry.Resource[*lib.Set]{
		Group:      lib.GroupName,
		Plural:     "sets",
		Singular:   "set",
		Categories: []string{registry.CategoryFleet},
		New:        func() *lib.Set { return &lib.Set{} },
		NewList:    func() runtime.Object { return &lib.SetList{} },
		Table:      table,
	}, strategy, status, getter)
}
