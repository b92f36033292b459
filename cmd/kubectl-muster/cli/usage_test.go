// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// deployment is the summary of a profile on a cluster of namespace civo.
func deployment(kind, profile, cluster string, spec configv1beta1.ProfileSpec) configv1beta1.ClusterSummary {
	return configv1beta1.ClusterSummary{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: profile + "-" + cluster, OwnerReferences: []metav1.OwnerReference{
			{Kind: kind, Name: profile, Controller: ptr.To(true)},
		}},
		Spec: configv1beta1.ClusterSummarySpec{ClusterNamespace: "civo", ClusterName: cluster, ClusterProfileSpec: spec},
	}
}

// everySource names something in each place of a profile where that is possible.
func everySource() configv1beta1.ProfileSpec {
	secret := func(name string) *libv1beta1.SecretReference { return &libv1beta1.SecretReference{Name: name} }
	from := func(kind, name string) []configv1beta1.ValueFrom {
		return []configv1beta1.ValueFrom{{Kind: kind, Namespace: "apps", Name: name}}
	}
	return configv1beta1.ProfileSpec{
		PolicyRefs: []configv1beta1.PolicyRef{
			{Kind: "ConfigMap", Namespace: "apps", Name: "policy"}, {Kind: "Secret", Name: "policy"},
			{RemoteURL: &configv1beta1.RemoteURL{URL: "https://example.com", SecretRef: secret("policy-url")}},
			{Kind: "GitRepository", Name: "none-of-ours"},
		},
		KustomizationRefs: []configv1beta1.KustomizationRef{
			{Kind: "ConfigMap", Namespace: "apps", Name: "kustomization", ValuesFrom: from("Secret", "kustomization-values")},
			{RemoteURL: &configv1beta1.KustomizationRemoteURL{URL: "https://example.com", SecretRef: secret("kustomization-url")}},
		},
		HelmCharts: []configv1beta1.HelmChart{{
			ValuesFrom:                from("ConfigMap", "chart-values"),
			RegistryCredentialsConfig: &configv1beta1.RegistryCredentialsConfig{Credentials: secret("registry"), CA: secret("ca")},
			ProvenanceVerification:    &configv1beta1.ProvenanceVerification{KeyringSecretRef: *secret("keyring")},
			SignatureVerification:     &configv1beta1.SignatureVerification{SecretRef: secret("cosign")},
		}},
		PatchesFrom:     from("ConfigMap", "patches"),
		ValidateHealths: []libv1beta1.ValidateHealth{{MetricSource: &libv1beta1.MetricSource{SecretRef: secret("metrics")}}},
		PreDeleteChecks: []libv1beta1.ValidateHealth{{JobCheck: &libv1beta1.JobCheck{
			JobRef: libv1beta1.JobReference{Kind: "ConfigMap", Namespace: "apps", Name: "job"},
		}}},
	}
}

func TestUsageFindsEveryReference(t *testing.T) {
	var got []string
	for _, u := range usagesOf([]configv1beta1.ClusterSummary{deployment("ClusterProfile", "web", "one", everySource())}) {
		got = append(got, u.Kind+" "+u.Namespace+"/"+u.Name+" "+strings.Join(u.Clusters, ","))
	}
	want := []string{
		"ClusterProfile /web civo/one",
		"ConfigMap apps/chart-values civo/one", "ConfigMap apps/job civo/one", "ConfigMap apps/kustomization civo/one", "ConfigMap apps/patches civo/one", "ConfigMap apps/policy civo/one",
		"Secret apps/kustomization-values civo/one", "Secret civo/ca civo/one", "Secret civo/cosign civo/one", "Secret civo/keyring civo/one",
		"Secret civo/kustomization-url civo/one", "Secret civo/metrics civo/one", "Secret civo/policy civo/one", "Secret civo/policy-url civo/one", "Secret civo/registry civo/one",
	}
	if !slices.Equal(got, want) {
		t.Errorf("used are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What several profiles use on several clusters is one line, each cluster once.
func TestUsageGathersClusters(t *testing.T) {
	shared := configv1beta1.ProfileSpec{PolicyRefs: []configv1beta1.PolicyRef{{Kind: "ConfigMap", Namespace: "apps", Name: "shared"}}}
	used := usagesOf([]configv1beta1.ClusterSummary{
		deployment("ClusterProfile", "web", "two", shared), deployment("ClusterProfile", "web", "one", shared),
		deployment("Profile", "web", "one", shared),
	})
	i := slices.IndexFunc(used, func(u usage) bool { return u.Name == "shared" })
	if i < 0 || !slices.Equal(used[i].Clusters, []string{"civo/one", "civo/two"}) {
		t.Errorf("used are %+v", used)
	}
	for _, u := range used {
		if u.Kind == "Profile" && (u.Namespace != "civo" || !slices.Equal(u.Clusters, []string{"civo/one"})) {
			t.Errorf("the Profile is %+v", u)
		}
	}
}

func TestResourcesAreThoseOfTheConfigurations(t *testing.T) {
	configuration := func(cluster string) configv1beta1.ClusterConfiguration {
		out := configv1beta1.ClusterConfiguration{ObjectMeta: metav1.ObjectMeta{
			Namespace: "civo", Name: "sveltos--" + cluster, Labels: map[string]string{libv1beta1.LabelClusterName: cluster},
		}}
		feature := func(kind string) []configv1beta1.Feature {
			return []configv1beta1.Feature{{Resources: []configv1beta1.DeployedResource{{Group: "apps", Version: "v1", Kind: kind, Namespace: "web", Name: "web"}}}}
		}
		out.Status.ClusterProfileResources = []configv1beta1.ClusterProfileResource{{ClusterProfileName: "web", Features: feature("StatefulSet")}}
		out.Status.ProfileResources = []configv1beta1.ProfileResource{{ProfileName: "web", Features: feature("Deployment")}}
		return out
	}
	var got []string
	for _, r := range resourcesOf([]configv1beta1.ClusterConfiguration{configuration("two"), configuration("one")}) {
		got = append(got, strings.Join([]string{r.Cluster, r.Group, r.Version, r.Kind, r.Namespace, r.Name, r.Message}, " "))
	}
	want := []string{
		"civo/one apps v1 Deployment web web deployed by Profile/web", "civo/one apps v1 StatefulSet web web deployed by ClusterProfile/web",
		"civo/two apps v1 Deployment web web deployed by Profile/web", "civo/two apps v1 StatefulSet web web deployed by ClusterProfile/web",
	}
	if !slices.Equal(got, want) {
		t.Errorf("deployed are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
