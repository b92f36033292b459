// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterprofile stores ClusterProfiles, which say what to deploy to clusters
// of any namespace.
package clusterprofile

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry"
)

// NewREST returns the storage of ClusterProfiles and of their status.
func NewREST(typer runtime.ObjectTyper, getter generic.RESTOptionsGetter) (*registry.REST, *registry.StatusREST, error) {
	strategy, status := registry.NewStrategies(typer, kind)
	rest, statusREST, err := registry.NewREST(registry.Resource[*config.ClusterProfile]{
		Group:      config.GroupName,
		Plural:     "clusterprofiles",
		Singular:   "clusterprofile",
		ShortNames: []string{"cprof"},
		Categories: []string{registry.CategoryFleet},
		New:        func() *config.ClusterProfile { return &config.ClusterProfile{} },
		NewList:    func() runtime.Object { return &config.ClusterProfileList{} },
		Table:      table,
	}, strategy, status, getter)
	if err != nil {
		return nil, nil, err
	}
	RefuseCycles(rest, "ClusterProfile", func(p *config.ClusterProfile) *config.ProfileSpec { return &p.Spec })
	return rest, statusREST, nil
}
