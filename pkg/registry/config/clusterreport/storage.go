// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterreport serves ClusterReports: what a profile in mode DryRun
// would change in a cluster. They are a view of what the leader has found out, of
// which nothing is stored as an object.
package clusterreport

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/registry"
)

// Reports are what profiles in mode DryRun would change.
type Reports interface {
	// List returns the reports of the clusters in a namespace, or of all clusters if it
	// is empty.
	List(ctx context.Context, namespace string) ([]report.Report, error)
}

// NewREST returns the view of reports.
func NewREST(reports Reports) *registry.View[*config.ClusterReport] {
	return registry.NewView(registry.Resource[*config.ClusterReport]{
		Group:    config.GroupName,
		Plural:   "clusterreports",
		Singular: "clusterreport",
		New:      func() *config.ClusterReport { return &config.ClusterReport{} },
		NewList:  func() runtime.Object { return &config.ClusterReportList{} },
		Table:    table,
	}, func(ctx context.Context, namespace string) ([]*config.ClusterReport, error) {
		found, err := reports.List(ctx, namespace)
		if err != nil {
			return nil, err
		}
		out := make([]*config.ClusterReport, 0, len(found))
		for i := range found {
			out = append(out, compute(&found[i]))
		}
		return out, nil
	})
}
