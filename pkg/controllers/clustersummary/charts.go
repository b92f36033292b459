// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/render"
)

// charts renders helmCharts, in the order written.
func (b *requestBuilder) charts(ctx context.Context, charts []configv1beta1.HelmChart) deploy.ChartList {
	var list deploy.ChartList
	for i := range charts {
		chart, err := b.chart(ctx, i, &charts[i])
		if err != nil {
			list.Err = errors.Join(list.Err, fmt.Errorf("helmCharts[%d]: %w", i, err))
			if !b.continueOnError {
				return list
			}
			continue
		}
		list.Charts = append(list.Charts, chart)
	}
	return list
}

func (b *requestBuilder) chart(ctx context.Context, index int, in *configv1beta1.HelmChart) (deploy.Chart, error) {
	var out deploy.Chart
	var values string
	for _, field := range []struct {
		name string
		from string
		to   *string
	}{
		{"repositoryURL", in.RepositoryURL, &out.Ref.RepositoryURL},
		{"repositoryName", in.RepositoryName, &out.Ref.RepositoryName},
		{"chartName", in.ChartName, &out.Ref.ChartName},
		{"chartVersion", in.ChartVersion, &out.Ref.Version},
		{"releaseNamespace", in.ReleaseNamespace, &out.Namespace},
		{"releaseName", in.ReleaseName, &out.Name},
		{"values", in.Values, &values},
	} {
		rendered, err := b.renderer.String(ctx, fmt.Sprintf("helmCharts[%d].%s", index, field.name), field.from, b.data)
		if err != nil {
			return out, fmt.Errorf("%s: %w", field.name, err)
		}
		*field.to = rendered
	}
	out.Uninstall = in.HelmChartAction == configv1beta1.HelmChartActionUninstall
	if err := yaml.Unmarshal([]byte(values), &out.Values); err != nil {
		if b.private {
			err = render.WithoutContent(err)
		}
		return out, fmt.Errorf("values of release %s/%s are no YAML map: %w", out.Namespace, out.Name, err)
	}
	if b.private {
		out.Sensitive = appendStrings(slices.Clone(b.secrets), out.Values)
	}
	if !b.changes.Empty() {
		out.PostRender, out.PostRenderHash = b.postRender, b.changes.Hash()
	}
	if err := b.setOptions(ctx, fmt.Sprintf("helmCharts[%d].options", index), in, &out); err != nil {
		return out, err
	}
	if err := b.chartSource(ctx, index, in, &out); err != nil {
		return out, err
	}
	return out, b.addValues(ctx, index, in.ValuesFrom, &out)
}

// postRender makes the profile's changes to what a chart renders. What of it came from a
// Secret's values is not known: no error may quote anything.
func (b *requestBuilder) postRender(manifests []byte) ([]byte, error) {
	return b.changes.Manifests(manifests, true)
}
