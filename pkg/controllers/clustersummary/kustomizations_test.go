// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
)

// packed is a tar archive of text files, compressed.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func archiveMap(name string, annotations map[string]string, archive []byte) client.Object {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name, Annotations: annotations},
		BinaryData: map[string][]byte{kustomizationKey: archive},
	}
}

func archiveSecret(name string, archive []byte) client.Object {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name}, Type: render.SecretType,
		Data: map[string][]byte{kustomizationKey: archive},
	}
}

// data are the data of the one ConfigMap in a list.
func dataOf(t *testing.T, list deploy.ObjectList) map[string]any {
	t.Helper()
	if list.Err != nil || len(list.Objects) != 1 {
		t.Fatalf("%d objects, error %v", len(list.Objects), list.Err)
	}
	data, _ := list.Objects[0].Content.Object["data"].(map[string]any)
	return data
}

func TestKustomizationRefs(t *testing.T) {
	files := map[string]string{
		"kustomization.yaml":       "resources: [base]\n",
		"base/kustomization.yaml":  "resources: [a.yaml]\n",
		"base/a.yaml":              "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: own}\ndata: {region: '{{ .region }}', zone: '{{ .zone }}'}\n",
		"prod/kustomization.yaml":  "resources: [../base]\nnamePrefix: prod-\n",
		"extra/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -extra\n",
	}
	archive := packed(t, files)
	template := map[string]string{render.AnnotationTemplate: ""}
	values := func(name string, annotations, data map[string]string) client.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name, Annotations: annotations}, Data: data}
	}
	host := hostObjects{
		"ConfigMap/civo/good":     archiveMap("good", nil, archive),
		"Secret/civo/good":        archiveSecret("good", archive),
		"ConfigMap/civo/plain":    values("plain", nil, map[string]string{"zone": "{{ plain }}"}),
		"ConfigMap/civo/rendered": values("rendered", template, map[string]string{"zone": "{{ .Cluster.metadata.name }}", "region": "of {{ .Cluster.metadata.name }}"}),
	}
	ref := configv1beta1.KustomizationRef{Kind: "ConfigMap", Name: "good", Tier: 100}
	from := func(names ...string) (out []configv1beta1.ValueFrom) {
		for _, name := range names {
			out = append(out, configv1beta1.ValueFrom{Kind: "ConfigMap", Name: name, Optional: true})
		}
		return out
	}
	tests := []struct {
		name            string
		change          func(*configv1beta1.KustomizationRef)
		object          string // namespace/name
		region, zone    string
		skipsNamespaces bool
	}{
		{name: "as it is", change: func(*configv1beta1.KustomizationRef) {}, object: "own/a", region: "{{ .region }}", zone: "{{ .zone }}"},
		{
			name: "path and components are templates", object: "own/prod-a-extra", region: "{{ .region }}", zone: "{{ .zone }}",
			change: func(r *configv1beta1.KustomizationRef) {
				r.Kind, r.Path, r.Components = "Secret", "./{{ .Cluster.metadata.labels.env }}", []string{"../{{ \"extra\" }}"}
			},
		},
		{
			name: "values", object: "there/a", region: "cluster1", zone: "a", skipsNamespaces: true,
			change: func(r *configv1beta1.KustomizationRef) {
				r.Values = map[string]string{"region": "{{ .Cluster.metadata.name }}", "zone": "a"}
				r.TargetNamespace, r.SkipNamespaceCreation = "there", true
			},
		},
		{
			name: "values that are templates override, and plain ones those", object: "own/a", region: "of cluster1", zone: "{{ plain }}",
			change: func(r *configv1beta1.KustomizationRef) {
				r.Values, r.ValuesFrom = map[string]string{"region": "x", "zone": "a"}, from("plain", "rendered", "missing")
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, read := newBuilder(t, "", host)
			ref := ref
			tt.change(&ref)
			list := b.kustomized(t.Context(), []configv1beta1.KustomizationRef{ref})
			if diff := cmp.Diff(map[string]any{"region": tt.region, "zone": tt.zone}, dataOf(t, list)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			o := list.Objects[0]
			if got := o.Content.GetNamespace() + "/" + o.Content.GetName(); got != tt.object || o.SkipNamespaceCreation != tt.skipsNamespaces {
				t.Errorf("object %s, skips namespaces: %v", got, o.SkipNamespaceCreation)
			}
			if want := (inventory.Source{Kind: ref.Kind, Namespace: "civo", Name: "good", Tier: 100}); o.Source != want || list.Feature != deploy.Kustomize {
				t.Errorf("%s from %v", list.Feature, o.Source)
			}
			if len(*read) != 1+len(ref.ValuesFrom) {
				t.Errorf("read %v", *read)
			}
		})
	}
}

func TestBadKustomizations(t *testing.T) {
	const secret = "hunter2-hunter2"
	good := map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": namespaceManifest}
	with := func(name, text string) map[string]string {
		out := map[string]string{}
		for key, value := range good {
			out[key] = value
		}
		out[name] = text
		return out
	}
	tests := map[string]struct {
		archive []byte
		change  func(*configv1beta1.KustomizationRef)
		want    string
	}{
		"no archive":   {archive: []byte("no archive " + secret), want: "not a tar archive"},
		"traversal":    {archive: packed(t, map[string]string{"../" + secret: ""}), want: "leads out of the archive"},
		"remote base":  {archive: packed(t, with("kustomization.yaml", "resources: ['https://example.com/"+secret+"']")), want: "remote resource is not fetched"},
		"missing path": {archive: packed(t, good), change: func(r *configv1beta1.KustomizationRef) { r.Path = "x" }, want: "no such directory in the source"},
		"no object":    {archive: packed(t, with("a.yaml", "a: "+secret)), want: "cannot be built"},
		"bad template": {
			archive: packed(t, with("kustomization.yaml", "resources: [a.yaml]\ncommonAnnotations: {a: '{{ fail "+secret+"'}")),
			change:  func(r *configv1beta1.KustomizationRef) { r.Values = map[string]string{"a": "b"} }, want: kustomizationKey,
		},
		"two become one": {
			archive: packed(t, with("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: c}\n")),
			change:  func(r *configv1beta1.KustomizationRef) { r.TargetNamespace = "d" }, want: "is there twice",
		},
		"bad extra path": {archive: packed(t, good), change: func(r *configv1beta1.KustomizationRef) { r.Path = "{{ .Cluster.no.such }}" }, want: "path: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, _ := newBuilder(t, "", hostObjects{
				"ConfigMap/civo/good": archiveMap("good", nil, packed(t, good)),
				"ConfigMap/civo/bad":  archiveMap("bad", nil, tt.archive), "Secret/civo/bad": archiveSecret("bad", tt.archive),
			})
			for _, kind := range []string{"ConfigMap", "Secret"} {
				ref := configv1beta1.KustomizationRef{Kind: kind, Name: "bad"}
				if tt.change != nil {
					tt.change(&ref)
				}
				list := b.kustomized(t.Context(), []configv1beta1.KustomizationRef{{Kind: "ConfigMap", Name: "good"}, ref})
				if list.Err == nil || !strings.Contains(list.Err.Error(), tt.want) || !strings.HasPrefix(list.Err.Error(), "kustomizationRefs[1]: ") || len(list.Objects) != 1 {
					t.Errorf("%s: %d objects, error %v; want %q", kind, len(list.Objects), list.Err, tt.want)
				}
				if kind == "Secret" && list.Err != nil && strings.Contains(list.Err.Error(), secret) {
					t.Errorf("%v quotes the Secret", list.Err)
				}
			}
		})
	}
}

func TestKustomizationSources(t *testing.T) {
	archive := packed(t, map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": namespaceManifest})
	typeless := archiveSecret("typeless", archive).(*corev1.Secret)
	typeless.Type = ""
	host := hostObjects{
		"ConfigMap/civo/lua":    archiveMap("lua", map[string]string{render.AnnotationLua: ""}, archive),
		"ConfigMap/civo/no-key": configMap("civo", "no-key", map[string]string{"a.yaml": namespaceManifest}),
		"Secret/civo/typeless":  typeless,
	}
	for name, tt := range map[string]struct {
		tenant string
		ref    configv1beta1.KustomizationRef
		want   string
	}{
		"missing":          {ref: configv1beta1.KustomizationRef{Kind: "ConfigMap", Name: "gone"}, want: "ConfigMap civo/gone of the host: does not exist"},
		"missing, allowed": {ref: configv1beta1.KustomizationRef{Kind: "ConfigMap", Name: "gone", Optional: true}},
		"no key":           {ref: configv1beta1.KustomizationRef{Kind: "ConfigMap", Name: "no-key"}, want: "has no key kustomize.tar.gz"},
		"Lua":              {ref: configv1beta1.KustomizationRef{Kind: "ConfigMap", Name: "lua"}, want: "makes manifests for policyRefs and nothing else"},
		"Secret's type":    {ref: configv1beta1.KustomizationRef{Kind: "Secret", Name: "typeless"}, want: "wrong Secret type"},
		"other namespace":  {tenant: "civo", ref: configv1beta1.KustomizationRef{Kind: "ConfigMap", Namespace: "{{ \"other\" }}", Name: "a"}, want: "reads from its own namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBuilder(t, tt.tenant, host)
			list := b.kustomized(t.Context(), []configv1beta1.KustomizationRef{tt.ref})
			if len(list.Objects) != 0 || (list.Err == nil) != (tt.want == "") || list.Err != nil && !strings.Contains(list.Err.Error(), tt.want) {
				t.Errorf("%d objects, error %v; want %q", len(list.Objects), list.Err, tt.want)
			}
		})
	}
}
