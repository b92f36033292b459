// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package addon serves Addons, one for every release and object that profiles
// have deployed: a view of the inventories, of which nothing is stored.
package addon

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/config/deployed"
)

// NewREST returns the view of what the inventories hold.
func NewREST(inventories deployed.Inventories) *registry.View[*config.Addon] {
	return registry.NewView(registry.Resource[*config.Addon]{
		Group:    config.GroupName,
		Plural:   "addons",
		Singular: "addon",
		New:      func() *config.Addon { return &config.Addon{} },
		NewList:  func() runtime.Object { return &config.AddonList{} },
		Table:    table,
		Fields:   selectable,
	}, func(ctx context.Context, namespace string) ([]*config.Addon, error) {
		records, err := deployed.List(ctx, inventories, namespace)
		if err != nil {
			return nil, err
		}
		return compute(records), nil
	})
}

// selectable are the fields that field selectors can ask for.
func selectable(a *config.Addon) fields.Set {
	return fields.Set{
		"cluster.kind":   a.Cluster.Kind,
		"cluster.name":   a.Cluster.Name,
		"resourceType":   a.ResourceType,
		"namespace":      a.Namespace,
		"name":           a.Name,
		"version":        a.Version,
		"deploymentType": string(a.DeploymentType),
	}
}

// clusterReference names a record's cluster.
func clusterReference(r *inventory.Record) corev1.ObjectReference {
	cluster := deployed.Cluster(r)
	return corev1.ObjectReference{
		APIVersion: apiVersionOf(cluster.Group), Kind: cluster.Kind, Namespace: cluster.Namespace, Name: cluster.Name,
	}
}
