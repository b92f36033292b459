// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package profile stores Profiles, which say what to deploy to clusters
// of one namespace.
package profile

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/config/clusterprofile"
)

// NewREST returns the storage of Profiles and of their status.
func NewREST(typer runtime.ObjectTyper, getter generic.RESTOptionsGetter) (*registry.REST, *registry.StatusREST, error) {
	strategy, status := registry.NewStrategies(typer, kind)
	rest, statusREST, err := registry.NewREST(registry.Resource[*config.Profile]{
		Group:      config.GroupName,
		Plural:     "profiles",
		Singular:   "profile",
		ShortNames: []string{"prof"},
		Categories: []string{registry.CategoryFleet},
		New:        func() *config.Profile { return &config.Profile{} },
		NewList:    func() runtime.Object { return &config.ProfileList{} },
		Table:      table,
	}, strategy, status, getter)
	if err != nil {
		return nil, nil, err
	}
	clusterprofile.RefuseCycles(rest, "Profile", func(p *config.Profile) *config.ProfileSpec { return &p.Spec })
	return rest, statusREST, nil
}
