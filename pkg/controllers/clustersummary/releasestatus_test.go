// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func TestReleaseSummaries(t *testing.T) {
	key := func(name string) inventory.ReleaseKey { return inventory.ReleaseKey{Namespace: "apps", Name: name} }
	failed := func(name string) error {
		return &deploy.ReleaseError{Release: key(name), Err: fmt.Errorf("release apps/%s: a hook failed", name)}
	}
	conflict := &deploy.ConflictError{Object: key("theirs").String(), Owner: inventory.OwnerKey{Kind: "ClusterProfile", Name: "other"}}
	last := deployed()
	last.result.Features[deploy.Helm] = deploy.FeatureResult{Err: fmt.Errorf("all: %w", errors.Join(
		failed("stuck"), failed("missing"), &deploy.ReleaseError{Release: key("theirs"), Err: conflict}))}
	last.result.Record.Releases = []inventory.Release{
		{
			ReleaseKey: key("good"), Chart: "nginx", Version: "1.0.0", RepoURL: "https://charts.example", RepositoryName: "stable", ValuesHash: "v", PatchesHash: "p",
			Credentials: &inventory.SecretReference{Namespace: "civo", Name: "login"},
		},
		{ReleaseKey: key("stuck"), Chart: "redis"},
	}
	last.result.Record.WantedReleases = []inventory.ReleaseKey{key("theirs")}
	status := desiredStatus(withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1)), readyCluster(), verdictRetryLater, last)
	const managing = configv1beta1.HelmChartStatusManaging
	want := []configv1beta1.HelmChartSummary{
		{
			ReleaseName: "good", ReleaseNamespace: "apps", Status: managing, ChartName: "nginx", ChartVersion: "1.0.0", RepoURL: "https://charts.example",
			RepositoryName: "stable", ValuesHash: []byte("v"), PatchesHash: []byte("p"), CredentialsSecretRef: &libv1beta1.SecretReference{Namespace: "civo", Name: "login"},
		},
		{ReleaseName: "stuck", ReleaseNamespace: "apps", Status: managing, ChartName: "redis", ValuesHash: []byte{}, FailureMessage: ptr.To("release apps/stuck: a hook failed")},
		{ReleaseName: "theirs", ReleaseNamespace: "apps", Status: configv1beta1.HelmChartStatusConflict, ConflictMessage: conflict.Error()},
		{ReleaseName: "missing", ReleaseNamespace: "apps", Status: managing, FailureMessage: ptr.To("release apps/missing: a hook failed")},
	}
	if diff := cmp.Diff(want, status.HelmReleaseSummaries); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
