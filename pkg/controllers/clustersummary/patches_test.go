// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
)

func patchesSecret(text string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "patches"}, Type: render.SecretType,
		Data: map[string][]byte{"a": []byte(text)},
	}
}

// everything is a profile with one source of each kind.
func everything() *configv1beta1.ProfileSpec {
	return &configv1beta1.ProfileSpec{
		PolicyRefs:        []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "good"}},
		KustomizationRefs: []configv1beta1.KustomizationRef{{Kind: "ConfigMap", Name: "kustomization"}},
		HelmCharts:        []configv1beta1.HelmChart{{RepositoryURL: "https://charts.test", ChartName: "a", ReleaseName: "a", ReleaseNamespace: "a"}},
	}
}

func everythingOnHost(t *testing.T) hostObjects {
	return hostObjects{
		"ConfigMap/civo/good": configMap("civo", "good", map[string]string{"a.yaml": namespaceManifest}),
		"ConfigMap/civo/kustomization": archiveMap("kustomization", nil, packed(t, map[string]string{
			"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": strings.Replace(namespaceManifest, "made", "built", 1),
		})),
		"ConfigMap/civo/patches": configMap("civo", "patches", map[string]string{
			"1": "patch: '{metadata: {labels: {from: one}}}'",
			"2": "- patch: '[{op: replace, path: /metadata/labels/from, value: two}]'\n  target: {kind: Namespace}\n- {patch: '{metadata: {labels: {last: \"yes\"}}}'}\n",
		}),
	}
}

func TestChangesAreMadeToEverything(t *testing.T) {
	b, read := newBuilder(t, "", everythingOnHost(t))
	spec := everything()
	spec.Patches = []libv1beta1.Patch{{Patch: "metadata: {labels: {cluster: '{{ .Cluster.metadata.name }}', from: zero}}", Target: &libv1beta1.PatchSelector{Kind: "Namespace"}}}
	spec.PatchesFrom = []configv1beta1.ValueFrom{{Kind: "ConfigMap", Name: "patches"}, {Kind: "Secret", Name: "patches", Optional: true}}
	spec.ExtraLabels = map[string]string{"extra": "on-{{ .Cluster.metadata.name }}"}
	spec.ExtraAnnotations = map[string]string{"note": "x"}
	request := b.request(t.Context(), inventory.Owner{Kind: "ClusterProfile", Name: "p"}, "s", "r", spec)
	want := map[string]string{"cluster": "cluster1", "from": "two", "last": "yes", "extra": "on-cluster1"}
	for _, list := range request.Objects {
		if list.Err != nil || len(list.Objects) != 1 {
			t.Fatalf("%s: %d objects, %v", list.Feature, len(list.Objects), list.Err)
		}
		if diff := cmp.Diff(want, list.Objects[0].Content.GetLabels()); diff != "" || list.Objects[0].Content.GetAnnotations()["note"] != "x" {
			t.Errorf("%s: %v, -want +got:\n%s", list.Feature, list.Objects[0].Content.GetAnnotations(), diff)
		}
	}
	chart := request.Charts.Charts[0]
	manifests, err := chart.PostRender([]byte(namespaceManifest))
	if err != nil || chart.PostRenderHash == "" || !strings.Contains(string(manifests), "extra: on-cluster1") || !strings.Contains(string(manifests), "from: two") {
		t.Errorf("the chart's manifests are %s, %v", manifests, err)
	}
	if len(*read) != 4 {
		t.Errorf("read %v", *read)
	}
}

func TestWithoutChangesAChartIsAsItWas(t *testing.T) {
	b, _ := newBuilder(t, "", everythingOnHost(t))
	request := b.request(t.Context(), inventory.Owner{}, "s", "r", everything())
	if chart := request.Charts.Charts[0]; chart.PostRender != nil || chart.PostRenderHash != "" {
		t.Errorf("hash %q", chart.PostRenderHash)
	}
}

// A patch that is broken stops every list before its first element: what is there stays.
func TestBadPatchesStopEverything(t *testing.T) {
	const secret = "hunter2-hunter2"
	host := everythingOnHost(t)
	tests := map[string]struct {
		patches []libv1beta1.Patch
		secret  string
		labels  map[string]string
		missing bool
		want    string
	}{
		"broken template":        {patches: []libv1beta1.Patch{{Patch: "{{ .Cluster.no.such }}"}}, want: "patches[0]: "},
		"template makes no YAML": {patches: []libv1beta1.Patch{{Patch: "{{ \"a: b: c\" }}"}}, want: "patches[0]: not valid YAML"},
		"no patch in a Secret":   {secret: secret, want: `patchesFrom[0]: Secret civo/patches, key "a"`},
		"no YAML in a Secret":    {secret: "a: b: " + secret, want: `key "a": not valid YAML`},
		"bad patch in a Secret":  {secret: "patch: '" + secret + "'", want: `key "a": is neither a JSON patch`},
		"missing":                {missing: true, want: "patchesFrom[0]: Secret civo/patches of the host: does not exist"},
		"label of a template":    {labels: map[string]string{"a": "{{ \"no label\" }}"}, want: "extraLabels[a] is no value"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			delete(host, "Secret/civo/patches")
			spec := everything()
			spec.Patches, spec.ExtraLabels = tt.patches, tt.labels
			if tt.secret != "" || tt.missing {
				spec.PatchesFrom = []configv1beta1.ValueFrom{{Kind: "Secret", Name: "patches"}}
			}
			if tt.secret != "" {
				host["Secret/civo/patches"] = patchesSecret(tt.secret)
			}
			b, _ := newBuilder(t, "", host)
			request := b.request(t.Context(), inventory.Owner{}, "s", "r", spec)
			errs := []error{request.Charts.Err}
			for _, list := range request.Objects {
				errs = append(errs, list.Err)
				if len(list.Objects) > 0 {
					t.Errorf("%s has objects", list.Feature)
				}
			}
			if len(errs) != 3 || len(request.Charts.Charts) > 0 {
				t.Errorf("%d lists, %d charts", len(errs), len(request.Charts.Charts))
			}
			for _, err := range errs {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
			}
			var patch *render.PatchError
			if errors.As(errs[0], &patch) && reasonOf(errs[0]) != configv1beta1.ReasonSourceInvalid {
				t.Errorf("reason %s", reasonOf(errs[0]))
			}
		})
	}
}
