// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
	"github.com/muster-project/muster/pkg/script"
)

// rendered has a chart's templates rendered where they can be ended, and returns a chart
// whose templates are what they write: Helm has no other way to be given that. The release
// is stored with the chart as it was. Without Options.Rendering the chart is returned as
// it is, and Helm renders it in this process.
func (m *Manager) rendered(ctx context.Context, op *operation, do step, history []*helmrelease.Release, release Release, parsed *chart.Chart) (*chart.Chart, error) {
	if m.options.Rendering == nil {
		return parsed, nil
	}
	upgrade := do == stepUpgrade
	request := rendering.Request{
		Archive: release.Chart.archive, Digest: release.Chart.Digest, Values: release.Values, SkipSchema: release.Settings.SkipSchemaValidation,
		Release: rendering.Release{Name: release.Name, Namespace: release.Namespace, Revision: 1, Upgrade: upgrade},
	}
	for _, dependency := range release.Chart.dependencies {
		request.Dependencies = append(request.Dependencies, dependency.archive)
	}
	definitions := !release.Settings.SkipCRDs
	if upgrade {
		definitions = release.Settings.Upgrade.UpgradeCRDs
		request.Release.Revision = history[len(history)-1].Version + 1
		var err error
		if request.Values, err = upgradeValues(release, history); err != nil {
			return nil, err
		}
	}
	if err := chartutil.ProcessDependenciesWithMerge(parsed, copyValues(request.Values)); err != nil {
		return nil, err
	}
	if err := op.knowCluster(parsed, definitions, &request); err != nil {
		return nil, err
	}
	files, err := m.options.Rendering.Render(ctx, request)
	if err != nil {
		return nil, renderError(err, release.Chart)
	}
	literal := literally(parsed, files)
	op.helm.Releases.Driver = &chartKeeper{Driver: op.helm.Releases.Driver, literal: literal, chart: parsed}
	return literal, nil
}

// renderError is the chart's fault if the chart hit a limit.
func renderError(err error, of *Chart) error {
	for _, limit := range []error{script.ErrTimeout, script.ErrMemory, script.ErrOutput, script.ErrInput} {
		if errors.Is(err, limit) {
			return &ChartError{Reason: Render, Repository: RedactURL(of.Ref.RepositoryURL), Chart: of.Name, Version: of.Version, Err: err}
		}
	}
	return err
}

// literally returns a chart with templates that write the given files, by the same names.
func literally(parsed *chart.Chart, files map[string]string) *chart.Chart {
	metadata := *parsed.Metadata
	metadata.Dependencies = nil
	out := &chart.Chart{Metadata: &metadata, Values: parsed.Values}
	for _, crd := range parsed.CRDObjects() {
		out.Files = append(out.Files, &chart.File{Name: crd.Name, Data: crd.File.Data})
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		within := strings.TrimPrefix(name, parsed.ChartFullPath()+"/")
		out.Templates = append(out.Templates, &chart.File{Name: within, Data: []byte(strings.ReplaceAll(files[name], "{{", `{{"{{"}}`))})
	}
	return out
}

// chartKeeper stores releases of a rendered chart with the chart as it was.
type chartKeeper struct {
	driver.Driver
	literal, chart *chart.Chart
}

// Create implements driver.Driver.
func (k *chartKeeper) Create(key string, release *helmrelease.Release) error {
	if release.Chart == k.literal {
		release.Chart = k.chart
	}
	return k.Driver.Create(key, release)
}
