// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterset stores ClusterSets, the sets of clusters of any namespace,
// and computes what they select.
package clusterset

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/registry"
)

// NewREST returns the storage of ClusterSets and of their status.
func NewREST(typer runtime.ObjectTyper, getter generic.RESTOptionsGetter) (*registry.REST, *registry.StatusREST, error) {
	strategy, status := registry.NewStrategies(typer, kind)
	return registry.NewREST(registry.Resource[*lib.ClusterSet]{
		Group:      lib.GroupName,
		Plural:     "clustersets",
		Singular:   "clusterset",
		ShortNames: []string{"cset"},
		Categories: []string{registry.CategoryFleet},
		New:        func() *lib.ClusterSet { return &lib.ClusterSet{} },
		NewList:    func() runtime.Object { return &lib.ClusterSetList{} },
		Table:      table,
	}, strategy, status, getter)
}
