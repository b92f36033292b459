// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sveltoscluster stores SveltosClusters, the registrations of managed
// clusters.
package sveltoscluster

import (
	"strconv"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/registry"
)

// NewREST returns the storage of SveltosClusters and of their status.
func NewREST(typer runtime.ObjectTyper, getter generic.RESTOptionsGetter) (*registry.REST, *registry.StatusREST, error) {
	strategy, status := registry.NewStrategies(typer, kind)
	return registry.NewREST(registry.Resource[*lib.SveltosCluster]{
		Group:      lib.GroupName,
		Plural:     "sveltosclusters",
		Singular:   "sveltoscluster",
		ShortNames: []string{"scluster"},
		Categories: []string{registry.CategoryFleet},
		New:        func() *lib.SveltosCluster { return &lib.SveltosCluster{} },
		NewList:    func() runtime.Object { return &lib.SveltosClusterList{} },
		Table:      table,
		Fields:     selectable,
	}, strategy, status, getter)
}

// selectable are the fields that field selectors can ask for.
func selectable(cluster *lib.SveltosCluster) fields.Set {
	return fields.Set{"status.ready": strconv.FormatBool(cluster.Status.Ready)}
}
