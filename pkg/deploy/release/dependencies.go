// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
)

// maxDependencies is how many charts one may depend on that it does not hold. Together
// they are bounded as one archive with all of them in it would be.
const maxDependencies = 100

// complete returns a chart with the charts that it depends on and does not hold.
func (m *Manager) complete(ctx context.Context, c *Chart) (*Chart, error) {
	parsed, err := c.parse()
	if err != nil {
		return nil, refError(ctx, c.Ref, &fault{Invalid, err})
	}
	whole := *c
	content := []byte(c.Digest)
	room, unpacked := m.options.FetchLimit-int64(len(c.archive)), maxUnpacked-unpackedSize(c.archive)
	for _, dependency := range parsed.Metadata.Dependencies {
		if slices.ContainsFunc(parsed.Dependencies(), func(held *chart.Chart) bool { return held.Name() == dependency.Name }) {
			continue
		}
		if len(whole.dependencies) == maxDependencies {
			return nil, refError(ctx, c.Ref, faultf(Invalid, "it depends on more than %d charts that it does not hold", maxDependencies))
		}
		ref, err := dependencyRef(c.Ref, dependency)
		if err != nil {
			return nil, refError(ctx, c.Ref, err)
		}
		loaded, err := m.LoadChart(ctx, ref)
		if err != nil {
			return nil, err
		}
		room, unpacked = room-int64(len(loaded.archive)), unpacked-unpackedSize(loaded.archive)
		if room < 0 || unpacked < 0 {
			return nil, refError(ctx, c.Ref, faultf(Invalid, "with the charts that it depends on it is larger than one may be"))
		}
		whole.dependencies = append(whole.dependencies, loaded)
		content = append(content, loaded.Digest...)
	}
	if len(whole.dependencies) > 0 {
		whole.Digest = digestOf(content)
	}
	return &whole, nil
}

// dependencyRef is where a dependency of a chart is found.
func dependencyRef(of ChartRef, dependency *chart.Dependency) (ChartRef, error) {
	ref := ChartRef{RepositoryURL: dependency.Repository, ChartName: dependency.Name, Version: dependency.Version}
	if name, isAlias := cutAlias(dependency.Repository); isAlias {
		if name != of.RepositoryName {
			return ref, faultf(Invalid, "dependency %s is in a repository called %q, which only the chart's own could be", dependency.Name, name)
		}
		ref.RepositoryURL = of.RepositoryURL
	}
	if ref.RepositoryURL == of.RepositoryURL {
		ref.Access = of.Access
	}
	ref.Verify = of.Verify // else anything could come with a chart that was proved
	parsed, err := url.Parse(ref.RepositoryURL)
	switch {
	case err != nil:
		return ref, faultf(Invalid, "the repository of dependency %s is not a URL", dependency.Name)
	case parsed.User != nil:
		return ref, faultf(Invalid, "the repository of dependency %s has credentials in its URL", dependency.Name)
	case !slices.Contains([]string{"http", "https", "oci"}, parsed.Scheme):
		return ref, faultf(Invalid, "dependency %s is not in the archive, and %q is no repository that it could be loaded from", dependency.Name, RedactURL(ref.RepositoryURL))
	}
	return ref, nil
}

// cutAlias returns the name of a repository from the two forms that Helm has for it.
func cutAlias(repository string) (string, bool) {
	if name, ok := strings.CutPrefix(repository, "@"); ok {
		return name, true
	}
	return strings.CutPrefix(repository, "alias:")
}

// addDependencies adds a new copy of each chart that is not in the archive.
func (c *Chart) addDependencies(parsed *chart.Chart) error {
	for _, dependency := range c.dependencies {
		copied, err := dependency.parse()
		if err != nil {
			return err
		}
		parsed.AddDependency(copied)
	}
	return nil
}
