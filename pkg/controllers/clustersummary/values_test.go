// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/render"
)

func valuesSecret(text string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "secret"}, Type: render.SecretType,
		Data: map[string][]byte{"values": []byte(text)},
	}
}

func TestValuesFrom(t *testing.T) {
	template := configMap("civo", "template", map[string]string{"v": "who: '{{ .Cluster.metadata.name }}'\nlist: [t]\n"}).(*corev1.ConfigMap)
	template.Annotations = map[string]string{render.AnnotationTemplate: ""}
	host := hostObjects{
		"ConfigMap/civo/template": template,
		"ConfigMap/civo/plain": configMap("civo", "plain", map[string]string{
			"a": "who: plain a\nimage: {tag: a}\nlist: [a]", "b": "who: '{{ plain b }}'\nimage: {pull: b}",
		}),
		"Secret/civo/secret": valuesSecret("db: {password: hunter2-hunter2, ports: [{name: hunter3-hunter3}]}\nimage: {tag: s}"),
	}
	b, read := newBuilder(t, "", host)
	chart := configv1beta1.HelmChart{
		ReleaseName: "r", ReleaseNamespace: "n", Values: "who: inline\nimage: {tag: i, registry: i}\nonly: '{{ .Cluster.metadata.name }}'\n",
		ValuesFrom: []configv1beta1.ValueFrom{
			{Kind: "ConfigMap", Name: "template"}, {Kind: "ConfigMap", Name: "plain"}, {Kind: "Secret", Name: "secret"},
			{Kind: "ConfigMap", Name: "missing", Optional: true},
		},
	}
	list := b.charts(t.Context(), []configv1beta1.HelmChart{chart})
	if list.Err != nil {
		t.Fatal(list.Err)
	}
	want := map[string]any{
		"who": "cluster1", "only": "cluster1", "list": []any{"t"},
		"image": map[string]any{"tag": "s", "pull": "b", "registry": "i"},
		"db":    map[string]any{"password": "hunter2-hunter2", "ports": []any{map[string]any{"name": "hunter3-hunter3"}}},
	}
	if diff := cmp.Diff(want, list.Charts[0].Values); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"hunter2-hunter2", "hunter3-hunter3", "s"}, list.Charts[0].Sensitive); diff != "" {
		t.Errorf("sensitive, -want +got:\n%s", diff)
	}
	if len(*read) != 4 {
		t.Errorf("read %v", *read)
	}
}

func TestBadValuesFrom(t *testing.T) {
	const secret = "hunter2-hunter2"
	for name, tt := range map[string]struct {
		text   string
		tenant string
		from   configv1beta1.ValueFrom
		want   string
	}{
		"missing":         {from: configv1beta1.ValueFrom{Kind: "ConfigMap", Name: "gone"}, want: "valuesFrom[0]: ConfigMap civo/gone of the host: does not exist"},
		"no YAML":         {text: "a: b: " + secret, from: configv1beta1.ValueFrom{Kind: "Secret", Name: "secret"}, want: `Secret civo/secret, key "values": not valid YAML`},
		"no mapping":      {text: "[" + secret + "]", from: configv1beta1.ValueFrom{Kind: "Secret", Name: "secret"}, want: `key "values"`},
		"other namespace": {tenant: "civo", from: configv1beta1.ValueFrom{Kind: "Secret", Namespace: "{{ \"other\" }}", Name: "secret"}, want: "reads from its own namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBuilder(t, tt.tenant, hostObjects{"Secret/civo/secret": valuesSecret(tt.text)})
			list := b.charts(t.Context(), []configv1beta1.HelmChart{{ReleaseName: "r", ValuesFrom: []configv1beta1.ValueFrom{tt.from}}})
			if list.Err == nil || !strings.Contains(list.Err.Error(), tt.want) || strings.Contains(list.Err.Error(), secret) {
				t.Errorf("error %v, want %q", list.Err, tt.want)
			}
		})
	}
}

func TestOptionalPolicyRefs(t *testing.T) {
	b, _ := newBuilder(t, "", hostObjects{"ConfigMap/civo/good": configMap("civo", "good", map[string]string{"a.yaml": namespaceManifest})})
	list := b.objects(t.Context(), []configv1beta1.PolicyRef{
		{Kind: "ConfigMap", Name: "gone", Optional: true}, {Kind: "ConfigMap", Name: "good", SkipNamespaceCreation: true},
	})
	if list.Err != nil || len(list.Objects) != 1 || !list.Objects[0].SkipNamespaceCreation {
		t.Errorf("%+v", list)
	}
}
