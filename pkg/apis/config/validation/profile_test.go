// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// expect compares errors by their type, their path, and a part of their text.
func expect(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	if len(errs) != len(want) {
		t.Errorf("%d errors, want %d:\n%v", len(errs), len(want), errs)
		return
	}
	for i, err := range errs {
		path, text, _ := strings.Cut(want[i], ": ")
		if err.Field != path || !strings.Contains(err.ErrorBody(), text) {
			t.Errorf("error %d is\n%v, want\n%s", i, err, want[i])
		}
	}
}

func validChart() config.HelmChart {
	return config.HelmChart{
		RepositoryURL: "https://kyverno.github.io/kyverno/", RepositoryName: "kyverno",
		ChartName: "kyverno/kyverno", ChartVersion: "v3.3.3",
		ReleaseName: "kyverno-latest", ReleaseNamespace: "kyverno", HelmChartAction: config.HelmChartActionInstall,
	}
}

func validSource() config.PolicyRef {
	return config.PolicyRef{Kind: "ConfigMap", Namespace: "civo", Name: "policies", DeploymentType: lib.DeploymentTypeRemote, Tier: 100}
}

func validProfile() *config.Profile {
	return &config.Profile{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "kyverno", ResourceVersion: "1"},
		Spec: config.ProfileSpec{
			SetRefs: []string{"prod"}, SyncMode: config.SyncModeContinuous, Tier: 100, StopMatchingBehavior: config.WithdrawPolicies,
			HelmCharts: []config.HelmChart{validChart()}, PolicyRefs: []config.PolicyRef{validSource()},
		},
	}
}

func cluster(namespace, name string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "lib.projectsveltos.io/v1beta1", Kind: "SveltosCluster", Namespace: namespace, Name: name}
}

func TestValidateProfile(t *testing.T) {
	annotated := func(key string) func(*config.Profile) {
		return func(p *config.Profile) { p.Annotations = map[string]string{key: ""} }
	}
	labelled := func(key string) func(*config.Profile) {
		return func(p *config.Profile) { p.Labels = map[string]string{key: "x"} }
	}
	tests := map[string]struct {
		change func(*config.Profile)
		want   []string
	}{
		"good": {func(*config.Profile) {}, nil},
		"all that is obeyed": {func(p *config.Profile) {
			p.Spec.ClusterSelector = lib.ParseSelector("env=prod")
			p.Spec.ClusterRefs = []corev1.ObjectReference{cluster("civo", "a")}
			p.Spec.SyncMode, p.Spec.Tier, p.Spec.StopMatchingBehavior = config.SyncModeOneTime, 1, config.LeavePolicies
		}, nil},
		"values that mean the default": {func(p *config.Profile) {
			p.Spec.MaxUpdate = ptr.To(intstr.FromInt32(0))
			p.Spec.DependsOn, p.Spec.ExtraLabels, p.Spec.Patches = []string{}, map[string]string{}, []lib.Patch{}
		}, nil},
		"no percentage":  {func(p *config.Profile) { p.Spec.MaxUpdate = ptr.To(intstr.FromString("0%")) }, nil},
		"long name":      {func(p *config.Profile) { p.Name = strings.Repeat("a", 64) }, []string{"metadata.name: no more than 63"}},
		"paused":         {annotated("profile.projectsveltos.io/paused"), nil},
		"tex-template":   {annotated("projectsveltos.io/tex-template"), nil},
		"lua":            {annotated("projectsveltos.io/lua"), nil},
		"retrigger":      {annotated("projectsveltos.io/retrigger"), nil},
		"tenant of old":  {labelled("projectsveltos.io/admin-name"), []string{"metadata.labels[projectsveltos.io/admin-name]: Forbidden: not supported yet"}},
		"any other mark": {labelled("example.com/team"), nil},
		"bad selector": {
			func(p *config.Profile) { p.Spec.ClusterSelector = lib.ParseSelector("a b") },
			[]string{"spec.clusterSelector: not a label selector"},
		},
		"reference elsewhere": {
			func(p *config.Profile) { p.Spec.ClusterRefs = []corev1.ObjectReference{cluster("other", "a")} },
			[]string{"spec.clusterRefs[0].namespace: has to be civo"},
		},
		"set without a name": {func(p *config.Profile) { p.Spec.SetRefs = []string{""} }, []string{"spec.setRefs[0]: Required value"}},
		"set of a bad name":  {func(p *config.Profile) { p.Spec.SetRefs = []string{"a", "b/c"} }, []string{"spec.setRefs[1]: RFC 1123"}},
		"set named twice":    {func(p *config.Profile) { p.Spec.SetRefs = []string{"a", "b", "a"} }, []string{`spec.setRefs[2]: Duplicate value: "a"`}},
		"too many sets":      {func(p *config.Profile) { p.Spec.SetRefs = make([]string, maxSetRefs+1) }, []string{"spec.setRefs: Too many"}},
		"drift detection":    {func(p *config.Profile) { p.Spec.SyncMode = config.SyncModeContinuousWithDriftDetection }, nil},
		"dry run":            {func(p *config.Profile) { p.Spec.SyncMode = config.SyncModeDryRun }, nil},
		"drift exclusion":    {excluding("/spec/replicas", "/metadata/annotations/example.com~1a", "/spec/template/spec/containers/0/image"), nil},
		"exclusion of nothing": {
			func(p *config.Profile) { p.Spec.DriftExclusions = []lib.DriftExclusion{{}} },
			[]string{"spec.driftExclusions[0].paths: Required value"},
		},
		"exclusion without a slash":   {excluding("spec.replicas"), []string{"spec.driftExclusions[0].paths[0]: is no JSON pointer"}},
		"exclusion with a bad escape": {excluding("/a~2"), []string{"spec.driftExclusions[0].paths[0]: is no JSON pointer"}},
		"exclusion of an object":      {excluding("/a", "/metadata"), []string{"spec.driftExclusions[0].paths[1]: names the object"}},
		"exclusion of too much":       {excluding(make([]string, maxPaths+1)...), []string{"spec.driftExclusions[0].paths: Too many"}},
		"too many exclusions":         {func(p *config.Profile) { p.Spec.DriftExclusions = make([]lib.DriftExclusion, maxDriftExclusions+1) }, []string{"spec.driftExclusions: Too many"}},
		"exclusion with a bad target": {
			func(p *config.Profile) {
				p.Spec.DriftExclusions = []lib.DriftExclusion{{Paths: []string{"/a"}, Target: &lib.PatchSelector{Name: "["}}}
			},
			[]string{"spec.driftExclusions[0].target.name: is no regular expression"},
		},
		"unknown mode": {
			func(p *config.Profile) { p.Spec.SyncMode = "Sometimes" },
			[]string{`spec.syncMode: Unsupported value: "Sometimes": supported values: "Continuous", "ContinuousWithDriftDetection"`},
		},
		"unknown behavior": {
			func(p *config.Profile) { p.Spec.StopMatchingBehavior = "Forget" },
			[]string{`spec.stopMatchingBehavior: Unsupported value: "Forget"`},
		},
		"tier below one":       {func(p *config.Profile) { p.Spec.Tier = -1 }, []string{"spec.tier: has to be at least 1"}},
		"unlimited failures":   {func(p *config.Profile) { p.Spec.MaxConsecutiveFailures = ptr.To[int32](0) }, nil},
		"too many charts":      {func(p *config.Profile) { p.Spec.HelmCharts = make([]config.HelmChart, maxCharts+1) }, []string{"spec.helmCharts: Too many"}},
		"too many policy refs": {func(p *config.Profile) { p.Spec.PolicyRefs = make([]config.PolicyRef, maxPolicyRefs+1) }, []string{"spec.policyRefs: Too many"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := validProfile()
			tt.change(p)
			expect(t, ValidateProfile(p), tt.want...)
			if p.Name != "kyverno" {
				return
			}
			expect(t, ValidateProfileUpdate(p, validProfile()), tt.want...)

			// What is stored already is no obstacle to any other change.
			changed := p.DeepCopy()
			changed.Finalizers = []string{"example.com/other"}
			changed.Spec.HelmCharts = nil
			changed.Status.MatchingClusters = []corev1.ObjectReference{cluster("civo", "a")}
			expect(t, ValidateProfileUpdate(changed, p))
			expect(t, ValidateProfileStatusUpdate(changed, p))
		})
	}
}

// A ClusterProfile has no namespace of its own, so that it may refer to any.
func TestValidateClusterProfile(t *testing.T) {
	good := &config.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "kyverno", ResourceVersion: "1"}, Spec: validProfile().Spec}
	good.Spec.ClusterRefs = []corev1.ObjectReference{cluster("civo", "a"), cluster("other", "b")}
	good.Spec.PolicyRefs = append(good.Spec.PolicyRefs, validSource())
	good.Spec.PolicyRefs[1].Namespace = "other"
	expect(t, ValidateClusterProfile(good))
	expect(t, ValidateClusterProfileUpdate(good, good))

	bad := good.DeepCopy()
	bad.Spec.ClusterRefs[1].Namespace = ""
	bad.Labels = map[string]string{"projectsveltos.io/admin-name": "eng"}
	want := []string{"metadata.labels[projectsveltos.io/admin-name]: Forbidden", "spec.clusterRefs[1].namespace: Required value"}
	expect(t, ValidateClusterProfile(bad), want...)
	expect(t, ValidateClusterProfileUpdate(bad, good), want...)
	expect(t, ValidateClusterProfileUpdate(bad, bad))
	expect(t, ValidateClusterProfileStatusUpdate(bad, bad))

	status := good.DeepCopy()
	status.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True"}}
	expect(t, ValidateClusterProfileStatusUpdate(status, good), "status.conditions[0].lastTransitionTime: Required value", "status.conditions[0].reason: Required value")

	namespaced := good.DeepCopy()
	namespaced.Namespace = "civo"
	expect(t, ValidateClusterProfile(namespaced)[:1], "metadata.namespace: Forbidden")
}

func TestValidatePolicyRefs(t *testing.T) {
	tests := map[string]struct {
		change func(*config.PolicyRef)
		want   []string
	}{
		"good":          {func(*config.PolicyRef) {}, nil},
		"Secret":        {func(r *config.PolicyRef) { r.Kind = "Secret" }, nil},
		"cluster's own": {func(r *config.PolicyRef) { r.Namespace = "" }, nil},
		"templates": {func(r *config.PolicyRef) {
			r.Namespace, r.Name = "{{ .Cluster.metadata.namespace }}", "{{ .Cluster.metadata.name }}-x"
		}, nil},
		"other namespace":   {func(r *config.PolicyRef) { r.Namespace = "kube-system" }, []string{"refs[0].namespace: has to be civo, the namespace of the profile"}},
		"no kind":           {func(r *config.PolicyRef) { r.Kind = "" }, []string{"refs[0].kind: Required value: ConfigMap, Secret, GitRepository"}},
		"no name":           {func(r *config.PolicyRef) { r.Name = "" }, []string{"refs[0].name: Required value"}},
		"bad name":          {func(r *config.PolicyRef) { r.Name = "a/b" }, []string{"refs[0].name: RFC 1123"}},
		"long template":     {func(r *config.PolicyRef) { r.Name = "{{" + strings.Repeat("x", maxTemplateSize) }, []string{"refs[0].name: Too long"}},
		"long namespace":    {func(r *config.PolicyRef) { r.Namespace = "{{" + strings.Repeat("x", maxTemplateSize) }, []string{"refs[0].namespace: Too long"}},
		"Flux":              {func(r *config.PolicyRef) { r.Kind, r.Path = "GitRepository", "./apps/{{ .ClusterName }}" }, nil},
		"Flux elsewhere":    {func(r *config.PolicyRef) { r.Kind, r.Namespace = "OCIRepository", "flux-system" }, []string{"refs[0].namespace: has to be civo"}},
		"path that leaves":  {func(r *config.PolicyRef) { r.Kind, r.Path = "Bucket", "../a" }, []string{"refs[0].path: has to be a directory in the source"}},
		"unknown kind":      {func(r *config.PolicyRef) { r.Kind = "Deployment" }, []string{`refs[0].kind: Unsupported value: "Deployment": supported values: "ConfigMap", "Secret", "GitRepository", "OCIRepository", "Bucket"`}},
		"to the host":       {func(r *config.PolicyRef) { r.DeploymentType = lib.DeploymentTypeLocal }, nil},
		"to nowhere":        {func(r *config.PolicyRef) { r.DeploymentType = "Elsewhere" }, []string{`refs[0].deploymentType: Unsupported value: "Elsewhere"`}},
		"optional":          {func(r *config.PolicyRef) { r.Optional = true }, nil},
		"force":             {func(r *config.PolicyRef) { r.Force = true }, nil},
		"no new namespaces": {func(r *config.PolicyRef) { r.SkipNamespaceCreation = true }, nil},
		"path":              {func(r *config.PolicyRef) { r.Path = "a/b" }, []string{"refs[0].path: is for GitRepository, OCIRepository, Bucket alone"}},
		"tier":              {func(r *config.PolicyRef) { r.Tier = 50 }, nil},
		"tier below one":    {func(r *config.PolicyRef) { r.Tier = -1 }, []string{"refs[0].tier: has to be at least 1"}},
		"URL": {
			func(r *config.PolicyRef) {
				r.Kind, r.Name, r.Namespace, r.RemoteURL = "", "", "", &config.RemoteURL{
					URL: "oci://example.com/a:v1", PlainHTTP: true, Interval: &metav1.Duration{Duration: time.Minute}, SecretRef: &lib.SecretReference{Name: "a", Namespace: "civo"},
				}
			},
			nil,
		},
		"bad URL": {
			func(r *config.PolicyRef) {
				r.Kind, r.Name, r.Namespace, r.RemoteURL = "", "", "", &config.RemoteURL{
					URL: "https://user:hunter2@example.com", PlainHTTP: true, Interval: &metav1.Duration{Duration: time.Second}, SecretRef: &lib.SecretReference{Namespace: "kube-system"},
				}
			},
			[]string{
				"refs[0].remoteURL.url: must not have credentials", "refs[0].remoteURL.interval: has to be at least 10s", "refs[0].remoteURL.plainHTTP: is for oci:// alone",
				"refs[0].remoteURL.secretRef.name: Required value", "refs[0].remoteURL.secretRef.namespace: has to be civo",
			},
		},
		"no URL": {func(r *config.PolicyRef) { r.Kind, r.Name, r.RemoteURL = "", "", &config.RemoteURL{} }, []string{"refs[0].remoteURL.url: Required value"}},
		"file": {func(r *config.PolicyRef) {
			r.Kind, r.Name, r.RemoteURL = "", "", &config.RemoteURL{URL: "file:///etc/passwd"}
		}, []string{"refs[0].remoteURL.url: has to start with"}},
		"URL and name": {
			func(r *config.PolicyRef) { r.RemoteURL = &config.RemoteURL{URL: "https://example.com"} },
			[]string{"refs[0]: remoteURL excludes kind and name"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ref := validSource()
			tt.change(&ref)
			expect(t, validatePolicyRefs([]config.PolicyRef{ref}, "civo", field.NewPath("refs")), tt.want...)
		})
	}
}

func TestWarnings(t *testing.T) {
	tests := map[string]struct {
		change func(*config.ProfileSpec)
		want   []string
	}{
		"good":  {func(*config.ProfileSpec) {}, nil},
		"empty": {func(s *config.ProfileSpec) { *s = config.ProfileSpec{} }, []string{"deployed to no cluster", "deploys nothing"}},
		"selector alone": {func(s *config.ProfileSpec) {
			s.SetRefs, s.ClusterSelector = nil, lib.ParseSelector("a=b")
		}, nil},
		"reference twice": {func(s *config.ProfileSpec) {
			s.ClusterRefs = []corev1.ObjectReference{cluster("civo", "a"), cluster("civo", "a")}
		}, []string{"spec.clusterRefs[1]: SveltosCluster civo/a is named more than once"}},
		"latest chart": {func(s *config.ProfileSpec) { s.HelmCharts[0].ChartVersion = "" }, []string{"spec.helmCharts[0].chartVersion: unset means the latest version"}},
		"no chart to choose": {func(s *config.ProfileSpec) {
			s.HelmCharts[0].ChartVersion, s.HelmCharts[0].HelmChartAction = "", config.HelmChartActionUninstall
		}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := validProfile()
			tt.change(&p.Spec)
			got := WarningsOnProfile(p)
			if diff := cmp.Diff(got, WarningsOnClusterProfile(&config.ClusterProfile{Spec: p.Spec})); diff != "" {
				t.Errorf("the two kinds differ:\n%s", diff)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("warnings = %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.Contains(got[i], tt.want[i]) {
					t.Errorf("warning %d = %q, want %q", i, got[i], tt.want[i])
				}
			}
		})
	}
}

// excluding is a change that leaves fields to others.
func excluding(paths ...string) func(*config.Profile) {
	return func(p *config.Profile) { p.Spec.DriftExclusions = []lib.DriftExclusion{{Paths: paths}} }
}
