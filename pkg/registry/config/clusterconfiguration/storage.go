// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterconfiguration serves ClusterConfigurations, one for every
// cluster that a profile has deployed something to: a view of the inventories,
// of which nothing is stored.
package clusterconfiguration

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/config/deployed"
)

// NewREST returns the view of what the inventories hold.
func NewREST(inventories deployed.Inventories) *registry.View[*config.ClusterConfiguration] {
	return registry.NewView(registry.Resource[*config.ClusterConfiguration]{
		Group:    config.GroupName,
		Plural:   "clusterconfigurations",
		Singular: "clusterconfiguration",
		New:      func() *config.ClusterConfiguration { return &config.ClusterConfiguration{} },
		NewList:  func() runtime.Object { return &config.ClusterConfigurationList{} },
		Table:    table,
	}, func(ctx context.Context, namespace string) ([]*config.ClusterConfiguration, error) {
		records, err := deployed.List(ctx, inventories, namespace)
		if err != nil {
			return nil, err
		}
		return compute(records), nil
	})
}
