// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterreport serves ClusterReports: what a profile in mode DryRun
// would change in a cluster. That mode is refused by validation, so that there
// is no report of it yet, and lists are empty, as they are upstream where no
// profile is in that mode.
package clusterreport

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/registry"
)

// NewREST returns the view of reports.
func NewREST() *registry.View[*config.ClusterReport] {
	return registry.NewView(registry.Resource[*config.ClusterReport]{
		Group:    config.GroupName,
		Plural:   "clusterreports",
		Singular: "clusterreport",
		New:      func() *config.ClusterReport { return &config.ClusterReport{} },
		NewList:  func() runtime.Object { return &config.ClusterReportList{} },
		Table:    table,
	}, func(context.Context, string) ([]*config.ClusterReport, error) { return nil, nil })
}

// table is what kubectl get prints.
var table = registry.Table[*config.ClusterReport]{
	{
		Header: "Cluster", Type: registry.String, Help: "namespace and name of the cluster",
		Cell: func(r *config.ClusterReport) any { return r.Spec.ClusterNamespace + "/" + r.Spec.ClusterName },
	},
}
