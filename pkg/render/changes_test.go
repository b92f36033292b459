// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// parsed reads one object.
func parsed(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	decoded, err := decodeDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u, err := checkObject(decoded.(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustChange(t testing.TB, patches []Patch, labels, annotations map[string]string) *Changes {
	t.Helper()
	changes, err := NewChanges(patches, labels, annotations)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: web, image: "web:1", env: [{name: A, value: "1"}]}
      - {name: proxy, image: "proxy:1"}
`

func TestPatches(t *testing.T) {
	tests := []struct {
		name   string
		patch  string
		target *PatchTarget
		on     string // the deployment if empty
		want   string // JSON of spec, or of metadata where in says so
		in     string
	}{
		{
			name: "strategic merge goes into lists by their keys", patch: "spec: {template: {spec: {containers: [{name: proxy, image: 'proxy:2'}]}}}", target: &PatchTarget{},
			want: `{"replicas":1,"template":{"spec":{"containers":[{"image":"proxy:2","name":"proxy"},{"env":[{"name":"A","value":"1"}],"image":"web:1","name":"web"}]}}}`,
		},
		{
			name: "strategic merge deletes by directive", patch: "spec: {template: {spec: {containers: [{name: proxy, $patch: delete}]}}}", target: &PatchTarget{Kind: "Deployment"},
			want: `{"replicas":1,"template":{"spec":{"containers":[{"env":[{"name":"A","value":"1"}],"image":"web:1","name":"web"}]}}}`,
		},
		{name: "strategic merge removes what is null", patch: "spec: {template: null}", target: &PatchTarget{}, want: `{"replicas":1}`},
		{
			name: "JSON patch", patch: "[{op: replace, path: /spec/replicas, value: 3}, {op: remove, path: /spec/template}]", target: &PatchTarget{Name: "w.*"},
			want: `{"replicas":3}`,
		},
		{name: "removing what is missing is none", patch: "[{op: remove, path: /spec/paused}, {op: remove, path: /spec/template}]", want: `{"replicas":1}`},
		{name: "the whole name has to match", patch: "spec: {template: null, replicas: 9}", target: &PatchTarget{Name: "we"}, on: settings, in: "metadata", want: `{"name":"web"}`},
		{name: "other group", patch: "metadata: {labels: {a: b}}", target: &PatchTarget{Group: "batch"}, in: "metadata", want: `{"labels":{"app":"web"},"name":"web","namespace":"shop"}`},
		{name: "labels", patch: "metadata: {labels: {a: b}}", target: &PatchTarget{LabelSelector: "app in (web,api)"}, in: "metadata", want: `{"labels":{"a":"b","app":"web"},"name":"web","namespace":"shop"}`},
		{name: "other labels", patch: "metadata: {labels: {a: b}}", target: &PatchTarget{LabelSelector: "!app"}, in: "metadata", want: `{"labels":{"app":"web"},"name":"web","namespace":"shop"}`},
		{name: "annotations", patch: "metadata: {labels: {a: b}}", target: &PatchTarget{AnnotationSelector: "x"}, in: "metadata", want: `{"labels":{"app":"web"},"name":"web","namespace":"shop"}`},
		{name: "without a target, the object that the patch names", patch: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 4, template: null}}", want: `{"replicas":4}`},
		{name: "without a target, not another object", patch: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: api}, spec: {replicas: 4}}", on: settings, in: "data", want: `{"a":"1"}`},
		{name: "without a target and a name, all", patch: "data: {b: '2'}", on: settings, in: "data", want: `{"a":"1","b":"2"}`},
		{name: "a merge renames nothing", patch: "{kind: Secret, metadata: {name: other, namespace: there, labels: {a: b}}}", target: &PatchTarget{}, in: "metadata", want: `{"labels":{"a":"b","app":"web"},"name":"web","namespace":"shop"}`},
		{name: "a JSON patch may", patch: "[{op: replace, path: /metadata/name, value: other}]", on: settings, in: "metadata", want: `{"name":"other"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := deployment
			if tt.on != "" {
				in = tt.on
			}
			before := parsed(t, in)
			kept := before.DeepCopy()
			out, err := mustChange(t, []Patch{{Name: "patches[0]", Text: tt.patch, Target: tt.target}}, nil, nil).Apply([]*unstructured.Unstructured{before}, false)
			if err != nil || len(out) != 1 {
				t.Fatalf("Apply() = %v, %v", out, err)
			}
			field := "spec"
			if tt.in != "" {
				field = tt.in
			}
			got, _ := json.Marshal(out[0].Object[field])
			if string(got) != tt.want {
				t.Errorf("%s is %s, want %s", field, got, tt.want)
			}
			if diff := cmp.Diff(kept, before); diff != "" {
				t.Errorf("Apply wrote to its input (-before +after):\n%s", diff)
			}
		})
	}
}

const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: '1'}\n"

func TestPatchesAreAppliedInTheirOrder(t *testing.T) {
	changes := mustChange(t, []Patch{
		{Name: "1", Text: "metadata: {labels: {step: one}}"},
		{Name: "2", Text: "[{op: replace, path: /metadata/labels/step, value: two}]", Target: &PatchTarget{LabelSelector: "step=one"}},
		{Name: "3", Text: "data: {never: x}", Target: &PatchTarget{LabelSelector: "step=one"}},
	}, map[string]string{"step": "last"}, map[string]string{"note": "x"})
	out, err := changes.Apply([]*unstructured.Unstructured{parsed(t, settings)}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": "1"},
		"metadata": map[string]any{"name": "web", "labels": map[string]any{"step": "last"}, "annotations": map[string]any{"note": "x"}},
	}
	if diff := cmp.Diff(want, out[0].Object); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAPatchCanDeleteAnObject(t *testing.T) {
	changes := mustChange(t, []Patch{{Name: "1", Text: "$patch: delete", Target: &PatchTarget{Kind: "ConfigMap"}}}, nil, nil)
	out, err := changes.Apply([]*unstructured.Unstructured{parsed(t, deployment), parsed(t, settings)}, false)
	if err != nil || len(out) != 1 || out[0].GetKind() != "Deployment" {
		t.Errorf("Apply() = %v, %v", out, err)
	}
}

func TestBadPatches(t *testing.T) {
	const secret = "hunter2-hunter2"
	tests := map[string]struct {
		text   string
		target *PatchTarget
		want   string
	}{
		"no YAML":          {text: "a: b: " + secret, want: "not valid YAML"},
		"a word":           {text: secret, want: "neither a JSON patch"},
		"unknown op":       {text: "[{op: increase, path: /a}]", want: "is no JSON patch"},
		"too many":         {text: "[" + strings.Repeat("{op: remove, path: /a}, ", maxOperations+1) + "]", want: "at most 1000 are allowed"},
		"no path":          {text: "[{op: add, value: " + secret + "}]", want: "is no JSON patch"},
		"relative path":    {text: "[{op: add, path: a, value: 1}]", want: "operation 1 has no path"},
		"no operations":    {text: "[a, " + secret + "]", want: "is no JSON patch"},
		"bad expression":   {text: "a: b", target: &PatchTarget{Name: "("}, want: "target.name is no regular expression"},
		"bad selector":     {text: "a: b", target: &PatchTarget{LabelSelector: "a=b=c"}, want: "target.labelSelector is no selector"},
		"missing path":     {text: "[{op: replace, path: /data/missing/" + secret + ", value: 1}]", want: "cannot be applied to ConfigMap web: an operation fails"},
		"failing test":     {text: "[{op: test, path: /data/a, value: " + secret + "}]", want: "an operation fails"},
		"labels of number": {text: "metadata: {labels: {a: 1}}", want: "has a value that is no string"},
		"no name left":     {text: "[{op: remove, path: /metadata/name}]", want: "metadata.name is missing"},
		"no metadata left": {text: "[{op: remove, path: /metadata}]", want: "metadata is missing"},
		"path in a name":   {text: "[{op: replace, path: /metadata/name, value: ../x}]", want: "metadata.name is no name"},
		"copying bomb": {
			text: "[{op: add, path: /data/x, value: " + strings.Repeat("x", 1<<17) + "}" + strings.Repeat(", {op: copy, from: /data, path: /data/y}", 8) + "]",
			want: "an operation fails",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, hidden := range []bool{false, true} {
				changes, err := NewChanges([]Patch{{Name: "patches[0]", Text: tt.text, Target: tt.target, Secret: hidden}}, nil, nil)
				if err == nil {
					_, err = changes.Apply([]*unstructured.Unstructured{parsed(t, settings)}, false)
				}
				var patch *PatchError
				if !errors.As(err, &patch) || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "patches[0]") {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				if hidden && strings.Contains(err.Error(), secret) {
					t.Errorf("%v quotes the patch of a Secret", err)
				}
			}
		})
	}
}

func TestErrorsOfPatchesQuoteNoSecret(t *testing.T) {
	const secret = "hunter2-hunter2"
	changes := mustChange(t, []Patch{{Name: "p", Text: "[{op: test, path: /metadata/annotations/" + secret + ", value: 1}]"}}, nil, nil)
	in := parsed(t, "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: "+secret+"}}")
	if _, err := changes.Apply([]*unstructured.Unstructured{in}, false); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v", err)
	}
	in.SetKind("ConfigMap")
	if _, err := changes.Apply([]*unstructured.Unstructured{in}, true); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v", err)
	}
}

func TestObjectsThatBecomeOneAreRefused(t *testing.T) {
	changes := mustChange(t, []Patch{{Name: "p", Text: "[{op: replace, path: /metadata/name, value: same}]"}}, nil, nil)
	_, err := changes.Apply([]*unstructured.Unstructured{parsed(t, settings), parsed(t, strings.Replace(settings, "web", "api", 1))}, false)
	if !errors.Is(err, ErrDuplicate) {
		t.Errorf("error %v", err)
	}
}

func TestExtraLabelsAreChecked(t *testing.T) {
	for _, labels := range []map[string]string{{"a": "no value!"}, {"no key!": "a"}} {
		if _, err := NewChanges(nil, labels, nil); err == nil {
			t.Errorf("%v was accepted", labels)
		}
	}
}

func TestHashOfChanges(t *testing.T) {
	if h := mustChange(t, nil, nil, nil).Hash(); h != "" {
		t.Errorf("nothing has hash %q", h)
	}
	if !(*Changes)(nil).Empty() {
		t.Error("nil changes something")
	}
	seen := map[string]bool{}
	for _, c := range []*Changes{
		mustChange(t, []Patch{{Text: "a: b"}}, nil, nil), mustChange(t, []Patch{{Text: "a: c"}}, nil, nil),
		mustChange(t, []Patch{{Text: "a: b", Target: &PatchTarget{}}}, nil, nil), mustChange(t, []Patch{{Text: "a: b", Target: &PatchTarget{Kind: "a"}}}, nil, nil),
		mustChange(t, nil, map[string]string{"a": "b"}, nil), mustChange(t, nil, nil, map[string]string{"a": "b"}),
	} {
		if c.Hash() == "" || len(c.Hash()) > 63 || seen[c.Hash()] || c.Empty() {
			t.Errorf("hash %q", c.Hash())
		}
		seen[c.Hash()] = true
	}
	if a, b := mustChange(t, []Patch{{Name: "x", Text: "a: b"}}, nil, nil), mustChange(t, []Patch{{Name: "y", Text: "a: b"}}, nil, nil); a.Hash() != b.Hash() {
		t.Error("a name changes the hash")
	}
}

func TestManifests(t *testing.T) {
	changes := mustChange(t, nil, map[string]string{"team": "a"}, nil)
	out, err := changes.Manifests([]byte("---\n# Source: a\n"+settings+"---\napiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: p}}]\n---\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := SplitYAML(out)
	if err != nil || len(documents) != 2 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	for _, document := range documents {
		var got unstructured.Unstructured
		if err := yaml.Unmarshal(document, &got.Object); err != nil || got.GetLabels()["team"] != "a" {
			t.Errorf("%s: %v", document, err)
		}
	}
	if _, err := changes.Manifests([]byte("a: b: hunter2-hunter2"), true); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

// What a merge does not name stays what it was, whatever text or number it is.
func TestMergeKeepsTheRest(t *testing.T) {
	changes := mustChange(t, []Patch{{Name: "p", Text: "metadata: {labels: {added: x}}"}}, nil, nil)
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.OneOf(
			rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Int64().AsAny(),
			rapid.Float64Range(-1e6, 1e6).Filter(func(f float64) bool { return f != math.Trunc(f) }).AsAny(),
			rapid.SampledFrom([]any{"yes", "null", "~", "0x10", "1e3", "2001-01-01", " x", "a\n b\n", "- a", "\ttab", "#", "{{ x }}", "\u2028", "", int64(1 << 60), []any{}, map[string]any{}}),
		)
		before := map[string]any{
			"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "a"},
			"spec": map[string]any{"one": value.Draw(r, "one"), "list": []any{value.Draw(r, "two"), map[string]any{"name": value.Draw(r, "three")}}},
		}
		out, err := changes.Apply([]*unstructured.Unstructured{{Object: before}}, false)
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(before["spec"], out[0].Object["spec"]); diff != "" {
			r.Fatalf("-before +after:\n%s", diff)
		}
	})
}
