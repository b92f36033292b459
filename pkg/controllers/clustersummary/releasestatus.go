// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"cmp"
	"maps"
	"slices"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// releaseSummary describes a release that the profile has. Hashes are the text of what is
// in the inventory, as that of a feature is; credentials are named and never read.
func releaseSummary(r inventory.Release, failure error) configv1beta1.HelmChartSummary {
	summary := configv1beta1.HelmChartSummary{
		ReleaseName: r.Name, ReleaseNamespace: r.Namespace, Status: configv1beta1.HelmChartStatusManaging,
		ChartName: r.Chart, ChartVersion: r.Version, RepoURL: r.RepoURL, RepositoryName: r.RepositoryName,
		ValuesHash: []byte(r.ValuesHash), FailureMessage: message(failure),
	}
	if r.PatchesHash != "" {
		summary.PatchesHash = []byte(r.PatchesHash)
	}
	if r.Credentials != nil {
		summary.CredentialsSecretRef = &libv1beta1.SecretReference{Namespace: r.Credentials.Namespace, Name: r.Credentials.Name}
	}
	return summary
}

// missingReleases describes releases that could not be deployed and of which there is
// nothing on the cluster.
func missingReleases(failures map[inventory.ReleaseKey]error) []configv1beta1.HelmChartSummary {
	var summaries []configv1beta1.HelmChartSummary
	for _, key := range slices.SortedFunc(maps.Keys(failures), func(a, b inventory.ReleaseKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}) {
		summaries = append(summaries, configv1beta1.HelmChartSummary{
			ReleaseName: key.Name, ReleaseNamespace: key.Namespace, Status: configv1beta1.HelmChartStatusManaging,
			FailureMessage: message(failures[key]),
		})
	}
	return summaries
}

// releaseFailures are the errors of single releases among all that went wrong.
func releaseFailures(err error) map[inventory.ReleaseKey]error {
	failures := map[inventory.ReleaseKey]error{}
	var walk func(error)
	walk = func(err error) {
		switch err := err.(type) {
		case *deploy.ReleaseError:
			if failures[err.Release] == nil {
				failures[err.Release] = err.Err
			}
		case interface{ Unwrap() []error }:
			for _, one := range err.Unwrap() {
				walk(one)
			}
		case interface{ Unwrap() error }:
			walk(err.Unwrap())
		}
	}
	walk(err)
	return failures
}
