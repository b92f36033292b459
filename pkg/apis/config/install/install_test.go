// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1alpha1"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func newCodecs(t *testing.T) (*runtime.Scheme, serializer.CodecFactory) {
	t.Helper()
	scheme := runtime.NewScheme()
	Install(scheme)
	return scheme, serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}

// decode reads a manifest as the server does: into the internal version, strictly.
func decode[T runtime.Object](t *testing.T, codecs serializer.CodecFactory, manifest []byte) T {
	t.Helper()
	obj, err := runtime.Decode(codecs.UniversalDecoder(), manifest)
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, manifest)
	}
	typed, ok := obj.(T)
	if !ok {
		t.Fatalf("decoded a %T", obj)
	}
	return typed
}

func encode(t *testing.T, codecs serializer.CodecFactory, obj runtime.Object, version schema.GroupVersion) []byte {
	t.Helper()
	data, err := runtime.Encode(codecs.LegacyCodec(version), obj)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return data
}

// mustDecodeInto decodes without conversion.
func mustDecodeInto(t *testing.T, codecs serializer.CodecFactory, data []byte, into runtime.Object) {
	t.Helper()
	if _, _, err := codecs.UniversalDeserializer().Decode(data, nil, into); err != nil {
		t.Fatalf("decode: %v\n%s", err, data)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVersionPriority(t *testing.T) {
	scheme, _ := newCodecs(t)
	want := []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion}
	if diff := cmp.Diff(want, scheme.PrioritizedVersionsForGroup(config.GroupName)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func TestClusterProfileMeansTheSameAtBothVersions(t *testing.T) {
	_, codecs := newCodecs(t)
	older := decode[*config.ClusterProfile](t, codecs, read(t, "clusterprofile-v1alpha1.yaml"))
	newer := decode[*config.ClusterProfile](t, codecs, read(t, "clusterprofile.yaml"))

	// The two manifests deploy different versions of the chart, and that is all.
	if older.Spec.HelmCharts[0].ChartVersion != "v3.0.1" || newer.Spec.HelmCharts[0].ChartVersion != "v3.3.3" {
		t.Fatalf("versions of the chart: %q, %q", older.Spec.HelmCharts[0].ChartVersion, newer.Spec.HelmCharts[0].ChartVersion)
	}
	same := older.DeepCopy()
	same.Spec.HelmCharts[0].ChartVersion = "v3.3.3"
	if diff := cmp.Diff(newer, same); diff != "" {
		t.Errorf("the two manifests differ (-v1beta1 +v1alpha1):\n%s", diff)
	}

	// What is written at v1alpha1 and stored at v1beta1 reads at v1alpha1 as written.
	stored := decode[*config.ClusterProfile](t, codecs, encode(t, codecs, older, v1beta1.SchemeGroupVersion))
	if diff := cmp.Diff(older, stored); diff != "" {
		t.Errorf("storing changed the object:\n%s", diff)
	}
	alpha := &v1alpha1.ClusterProfile{}
	mustDecodeInto(t, codecs, encode(t, codecs, stored, v1alpha1.SchemeGroupVersion), alpha)
	want := v1alpha1.ProfileSpec{
		SetRefs: []string{"prod"}, SyncMode: "Continuous", Tier: 100, StopMatchingBehavior: "WithdrawPolicies",
		HelmCharts: []v1alpha1.HelmChart{{
			RepositoryURL: "https://kyverno.github.io/kyverno/", RepositoryName: "kyverno",
			ChartName: "kyverno/kyverno", ChartVersion: "v3.0.1",
			ReleaseName: "kyverno-latest", ReleaseNamespace: "kyverno", HelmChartAction: "Install",
		}},
	}
	if diff := cmp.Diff(want, alpha.Spec); diff != "" {
		t.Errorf("spec at v1alpha1 (-want +got):\n%s", diff)
	}
}

// v1alpha1 carries what is newer than itself.
func TestNewerFieldsSurviveTheOlderVersion(t *testing.T) {
	_, codecs := newCodecs(t)
	beta := &v1beta1.Profile{Spec: v1beta1.ProfileSpec{
		ClusterSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "b"}},
		}},
		SyncMode: "Continuous", Tier: 50, StopMatchingBehavior: "LeavePolicies",
		ContinueOnError: true, MaxConsecutiveFailures: ptr.To[int32](2), TransitionFrom: "old", FeatureOrder: []libv1beta1.FeatureID{"Helm", "Resources"},
		PolicyRefs: []v1beta1.PolicyRef{{RemoteURL: &v1beta1.RemoteURL{URL: "oci://x/y", Template: true}, DeploymentType: "Local", Tier: 7}},
		HelmCharts: []v1beta1.HelmChart{{
			HelmChartAction: "Uninstall",
			Options: &v1beta1.HelmOptions{
				InstallOptions: v1beta1.HelmInstallOptions{CreateNamespace: ptr.To(false), Replace: ptr.To(true), RecoverAfterConsecutiveFailures: ptr.To[int32](0)},
				UpgradeOptions: v1beta1.HelmUpgradeOptions{MaxHistory: ptr.To[int32](7)},
			},
		}},
	}}
	profile := decode[*config.Profile](t, codecs, encode(t, codecs, beta, v1beta1.SchemeGroupVersion))
	alpha := decode[*config.Profile](t, codecs, encode(t, codecs, profile, v1alpha1.SchemeGroupVersion))
	back := &v1beta1.Profile{}
	mustDecodeInto(t, codecs, encode(t, codecs, alpha, v1beta1.SchemeGroupVersion), back)
	if diff := cmp.Diff(beta.Spec, back.Spec); diff != "" {
		t.Errorf("v1beta1, v1alpha1, v1beta1 (-before +after):\n%s", diff)
	}
}

func TestSelectorOfASummaryIsAStringAtTheOlderVersion(t *testing.T) {
	_, codecs := newCodecs(t)
	summary := &config.ClusterSummary{Spec: config.ClusterSummarySpec{
		ClusterProfileSpec: config.ProfileSpec{ClusterSelector: lib.ParseSelector("env=a,env=b")},
	}}
	alpha := &v1alpha1.ClusterSummary{}
	mustDecodeInto(t, codecs, encode(t, codecs, summary, v1alpha1.SchemeGroupVersion), alpha)
	if got, want := alpha.Spec.ClusterProfileSpec.ClusterSelector, "env in (b),env=a"; got != want {
		t.Errorf("clusterSelector = %q, want %q", got, want)
	}
}

func TestStatusRefsHaveTheVersionThatTheyAreReadAt(t *testing.T) {
	_, codecs := newCodecs(t)
	ref := func(version string) corev1.ObjectReference {
		return corev1.ObjectReference{APIVersion: lib.ClusterAPIVersion(version), Kind: "SveltosCluster", Namespace: "civo", Name: "cluster1"}
	}
	refs := func(version string) []corev1.ObjectReference { return []corev1.ObjectReference{ref(version)} }
	profile := &config.ClusterProfile{Status: config.ProfileStatus{
		MatchingClusters: refs("v1beta1"),
		FailedClusters:   []config.FailedCluster{{ClusterRef: ref("v1beta1")}},
		UpdatingClusters: config.UpdatingClusters{Clusters: refs("v1beta1")},
		UpdatedClusters:  config.UpdatingClusters{Clusters: refs("v1beta1")},
	}}
	before := profile.DeepCopy()

	alpha := &v1alpha1.ClusterProfile{}
	data := encode(t, codecs, profile, v1alpha1.SchemeGroupVersion)
	mustDecodeInto(t, codecs, data, alpha)
	want := v1alpha1.ProfileStatus{
		MatchingClusters: refs("v1alpha1"),
		FailedClusters:   []v1alpha1.FailedCluster{{ClusterRef: ref("v1alpha1")}},
		UpdatingClusters: v1alpha1.UpdatingClusters{Clusters: refs("v1alpha1")},
		UpdatedClusters:  v1alpha1.UpdatingClusters{Clusters: refs("v1alpha1")},
	}
	if diff := cmp.Diff(want, alpha.Status); diff != "" {
		t.Errorf("status at v1alpha1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, profile); diff != "" {
		t.Errorf("conversion changed what it converted from:\n%s", diff)
	}
	if back := decode[*config.ClusterProfile](t, codecs, data); !cmp.Equal(before.Status, back.Status) {
		t.Errorf("status written at v1alpha1:\n%s", cmp.Diff(before.Status, back.Status))
	}

	addon := &config.Addon{Cluster: ref("v1beta1")}
	alphaAddon := &v1alpha1.Addon{}
	mustDecodeInto(t, codecs, encode(t, codecs, addon, v1alpha1.SchemeGroupVersion), alphaAddon)
	if alphaAddon.Cluster != ref("v1alpha1") {
		t.Errorf("cluster of an add-on at v1alpha1: %+v", alphaAddon.Cluster)
	}
}

func TestDefaults(t *testing.T) {
	_, codecs := newCodecs(t)
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		t.Run(version, func(t *testing.T) {
			profile := decode[*config.Profile](t, codecs, []byte(`{"apiVersion":"config.projectsveltos.io/`+version+`","kind":"Profile",
				"metadata":{"namespace":"civo"},"spec":{
				"clusterRefs":[{"name":"a"}], "policyRefs":[{"name":"p"}], "kustomizationRefs":[{"name":"k"}],
				"helmCharts":[{"releaseName":"one"},{"releaseName":"two","options":{}}]}}`))
			want := config.ProfileSpec{
				SyncMode: config.SyncModeContinuous, Tier: 100, StopMatchingBehavior: config.WithdrawPolicies,
				ClusterRefs:       []corev1.ObjectReference{{Namespace: "civo", Name: "a"}},
				PolicyRefs:        []config.PolicyRef{{Name: "p", DeploymentType: "Remote", Tier: 100}},
				KustomizationRefs: []config.KustomizationRef{{Name: "k", DeploymentType: "Remote", Tier: 100}},
				HelmCharts: []config.HelmChart{
					{ReleaseName: "one", HelmChartAction: "Install"},
					{ReleaseName: "two", HelmChartAction: "Install", Options: &config.HelmOptions{
						InstallOptions: config.HelmInstallOptions{CreateNamespace: ptr.To(true), Replace: ptr.To(true), RecoverAfterConsecutiveFailures: ptr.To[int32](5)},
						UpgradeOptions: config.HelmUpgradeOptions{MaxHistory: ptr.To[int32](2)},
					}},
				},
			}
			if diff := cmp.Diff(want, profile.Spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

// Upstream writes this name with a capital letter.
func TestFeaturesIsSpelledAsUpstream(t *testing.T) {
	_, codecs := newCodecs(t)
	configuration := &config.ClusterConfiguration{Status: config.ClusterConfigurationStatus{
		ClusterProfileResources: []config.ClusterProfileResource{{Features: []config.Feature{{FeatureID: "Helm"}}}},
		ProfileResources:        []config.ProfileResource{{Features: []config.Feature{{FeatureID: "Helm"}}}},
	}}
	data := string(encode(t, codecs, configuration, v1beta1.SchemeGroupVersion))
	if strings.Count(data, `"Features":[{"featureID":"Helm"`) != 2 {
		t.Errorf("encoded as %s", data)
	}
}

func TestFieldLabels(t *testing.T) {
	scheme, _ := newCodecs(t)
	tests := map[string]map[string]bool{
		"ClusterSummary": {"metadata.name": true, "spec.clusterNamespace": true, "spec.clusterName": true, "spec.clusterType": true, "cluster.name": false},
		"Addon":          {"metadata.namespace": true, "cluster.kind": true, "cluster.name": true, "resourceType": true, "namespace": true, "name": true, "version": true, "deploymentType": true, "spec.clusterName": false},
		"ClusterProfile": {"metadata.name": true, "spec.tier": false},
	}
	for kind, labels := range tests {
		for label, ok := range labels {
			for _, version := range []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion} {
				got, value, err := scheme.ConvertFieldLabel(version.WithKind(kind), label, "x")
				if (err == nil) != ok || (ok && (got != label || value != "x")) {
					t.Errorf("%s %s %s = %q, %q, %v", version, kind, label, got, value, err)
				}
			}
		}
	}
}
