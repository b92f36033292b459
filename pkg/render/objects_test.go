// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/script"
)

func configMap(data map[string]string) Source {
	source := Source{Kind: "ConfigMap", Namespace: "default", Name: "policy", Data: map[string][]byte{}}
	for key, value := range data {
		source.Data[key] = []byte(value)
	}
	return source
}

func secret(data map[string]string) Source {
	source := configMap(data)
	source.Kind, source.Type = "Secret", SecretType
	return source
}

func annotated(source Source, annotations ...string) Source {
	source.Annotations = map[string]string{}
	for _, annotation := range annotations {
		source.Annotations[annotation] = "" // presence counts
	}
	return source
}

// object is a minimal manifest.
func object(kind, name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s}\n", kind, name)
}

func names(objects []*unstructured.Unstructured) []string {
	var names []string
	for _, o := range objects {
		names = append(names, objectName(o.Object))
	}
	return names
}

func TestObjectsAreInOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		data map[string]string
		want []string
	}{
		"one": {
			map[string]string{"a": object("Service", "x")},
			[]string{"Service x"},
		},
		"keys by name": {
			map[string]string{"b": object("Service", "x"), "a10": object("Service", "v"), "a9": object("Service", "z"), "B": object("Service", "w")},
			[]string{"Service w", "Service v", "Service z", "Service x"},
		},
		"documents as they stand": {
			map[string]string{"a": object("Service", "z") + "---\n" + object("Namespace", "v") + "---\n# none\n---\n" + object("Service", "a")},
			[]string{"Service z", "Namespace v", "Service a"},
		},
		"an empty key beside another": {
			map[string]string{"a": "# later\n", "b": object("Service", "x"), "c": "---\n~\n"},
			[]string{"Service x"},
		},
		"a list": {
			map[string]string{"a": `
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: b}}
- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: a}}]}
---
` + object("Service", "c")},
			[]string{"Service b", "Service a", "Service c"},
		},
		"a list of one kind": {
			map[string]string{"a": `{"apiVersion": "v1", "kind": "ServiceList", "metadata": {}, "items": [{"metadata": {"name": "a", "namespace": "n"}}]}`},
			[]string{"Service n/a"},
		},
		"a kind that only sounds like a list": {
			map[string]string{"a": "{apiVersion: x/v1, kind: AllowList, metadata: {name: a}, spec: {}}"},
			[]string{"AllowList a"},
		},
		"a kind that only has items": {
			map[string]string{"a": "{apiVersion: x/v1, kind: Menu, metadata: {name: a}, items: [soup]}"},
			[]string{"Menu a"},
		},
		"namesakes": {
			map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: x}}\n" +
				"---\n{apiVersion: v1, kind: A, metadata: {name: x, namespace: ns}}\n" +
				"---\n{apiVersion: g/v1, kind: A, metadata: {name: x}}\n"},
			[]string{"A x", "A ns/x", "A x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, source := range []Source{configMap(tc.data), secret(tc.data)} {
				got, err := noTemplates(t).Objects(t.Context(), source, nil)
				if diff := cmp.Diff(tc.want, names(got)); err != nil || diff != "" {
					t.Errorf("%s: %v; objects (-want +got):\n%s", source.Kind, err, diff)
				}
			}
		})
	}
}

func TestObjectsKeepTheirContent(t *testing.T) {
	got, err := noTemplates(t).Objects(t.Context(), configMap(map[string]string{"a": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {tier: "1"}}
spec: {replicas: 3, paused: no, ratio: 0.5, text: "{{ not a template }}"}
`}), nil)
	want := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web", "namespace": "shop", "labels": map[string]any{"tier": "1"}},
		"spec":     map[string]any{"replicas": int64(3), "paused": false, "ratio": 0.5, "text": "{{ not a template }}"},
	}
	if err != nil || len(got) != 1 {
		t.Fatalf("got %d objects, %v", len(got), err)
	}
	if diff := cmp.Diff(want, got[0].Object); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

func TestSourcesThatAreRefused(t *testing.T) {
	good := object("Service", "good")
	for name, tc := range map[string]struct {
		source Source
		want   string
		is     error
	}{
		"no data": {
			configMap(nil), "ConfigMap default/policy: holds no objects; to deploy nothing, remove the reference to it", ErrEmpty,
		},
		"nothing but comments": {
			configMap(map[string]string{"a": "# nothing\n", "b": "---\n---\n"}), "ConfigMap default/policy: holds no objects", ErrEmpty,
		},
		"an empty list": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: List, items: []}"}), "ConfigMap default/policy: holds no objects", ErrEmpty,
		},
		"an empty secret": {
			secret(nil), "Secret default/policy: holds no objects", ErrEmpty,
		},
		"broken second document": {
			configMap(map[string]string{"a": good, "b.yaml": object("A", "x") + "---\nkind: [\n"}),
			`ConfigMap default/policy, key "b.yaml", document 2: not valid YAML, line 2: did not find expected node content`, ErrInvalid,
		},
		"not UTF-8": {
			configMap(map[string]string{"a": good, "b": "\xff"}), `ConfigMap default/policy, key "b": not UTF-8 text`, ErrInvalid,
		},
		"no object": {
			configMap(map[string]string{"a": "just text"}), `ConfigMap default/policy, key "a", document 1: is no object, but a string`, ErrInvalid,
		},
		"a list without a kind": {
			configMap(map[string]string{"a": "- a"}), `ConfigMap default/policy, key "a", document 1: is no object, but a list`, ErrInvalid,
		},
		"a number": {
			configMap(map[string]string{"a": "1"}), `document 1: is no object, but a number`, ErrInvalid,
		},
		"a boolean": {
			configMap(map[string]string{"a": "true"}), `document 1: is no object, but a boolean`, ErrInvalid,
		},
		"an item that is no object": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: [a]}]}"}),
			`key "a", document 1: item 1 of the list item 1 of the list is no object, but a string`, ErrInvalid,
		},
		"an item of half a type": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: AList, items: [{apiVersion: v2, metadata: {name: x}}]}"}),
			`document 1: kind is missing or no string`, ErrInvalid,
		},
		"no apiVersion": {
			configMap(map[string]string{"a": good + "---\n{kind: A, metadata: {name: x}}"}),
			`ConfigMap default/policy, key "a", document 2, A x: apiVersion is missing or no string`, ErrInvalid,
		},
		"an apiVersion that is none": {
			configMap(map[string]string{"a": "{apiVersion: a/b/c, kind: A, metadata: {name: x}}"}), `A x: apiVersion is none: "a/b/c"`, ErrInvalid,
		},
		"no kind": {
			configMap(map[string]string{"a": "{apiVersion: v1, metadata: {name: x}}"}), `document 1: kind is missing or no string`, ErrInvalid,
		},
		"a kind that is a number": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: 1, metadata: {name: x}}"}), `document 1: kind is missing or no string`, ErrInvalid,
		},
		"no metadata": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: [x]}"}), `document 1, A: metadata is missing or no object`, ErrInvalid,
		},
		"no name": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {namespace: ns}}"}), `document 1, A: metadata.name is missing`, ErrInvalid,
		},
		"a name that is a number": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: 1}}"}), `A: metadata.name is no string (quote it)`, ErrInvalid,
		},
		"a name that is a path": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: ../x}}"}), `A ../x: metadata.name is no name: "../x" may not contain '/'`, ErrInvalid,
		},
		"a namespace that is a path": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: x, namespace: n/../m}}"}), `metadata.namespace is no name`, ErrInvalid,
		},
		"a generated name": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {generateName: x-}}"}), `metadata.generateName would make another object each time`, ErrInvalid,
		},
		"a generated name beside a name": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: x, generateName: x-}}"}), `metadata.generateName would make another object each time`, ErrInvalid,
		},
		"a label that is a boolean": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: x, labels: {a: yes}}}"}), `A x: metadata.labels has a value that is no string (quote it)`, ErrInvalid,
		},
		"annotations that are a list": {
			configMap(map[string]string{"a": "{apiVersion: v1, kind: A, metadata: {name: x, annotations: [a]}}"}), `A x: metadata.annotations has a value that is no string`, ErrInvalid,
		},
		"one object twice": {
			configMap(map[string]string{"a": good + "---\n" + good}),
			`ConfigMap default/policy, key "a", document 2, Service good: object is there twice, first in key "a", document 1`, ErrDuplicate,
		},
		"one object twice, at two versions in two keys": {
			configMap(map[string]string{"a": "{apiVersion: g/v1, kind: A, metadata: {name: x}}", "b": "{apiVersion: g/v2, kind: A, metadata: {name: x}}"}),
			`key "b", document 1, A x: object is there twice, first in key "a", document 1`, ErrDuplicate,
		},
		"a large object": {
			configMap(map[string]string{"a": object("A", "x") + "data: " + strings.Repeat("x", MaxObject)}),
			`key "a", document 1, A x: the object has`, ErrTooLarge,
		},
		"a large document": {
			configMap(map[string]string{"a": good + "#" + strings.Repeat("x", MaxDocument)}),
			`key "a", document 1: the document has`, ErrTooLarge,
		},
		"much text": {
			configMap(map[string]string{"a": good, "b": "#" + strings.Repeat("x", MaxSet)}),
			`key "b": the source up to this key has`, ErrTooLarge,
		},
		"many objects": {
			configMap(map[string]string{"a": many()}), "the source up to this object has", ErrTooLarge,
		},
		"a Secret of another type": {
			Source{Kind: "Secret", Namespace: "default", Name: "policy", Type: "Opaque", Data: map[string][]byte{"a": []byte(good)}},
			`Secret default/policy: wrong Secret type: it is "Opaque", must be "addons.projectsveltos.io/cluster-profile"`, ErrSecretType,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := noTemplates(t).Objects(t.Context(), tc.source, nil)
			if got != nil {
				t.Errorf("%d objects are left of it", len(got))
			}
			if _, ok := errors.AsType[*SourceError](err); !ok || !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// many is a source whose text is within the limits and whose objects, thanks to aliases,
// are not.
func many() string {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: A\nmetadata: {name: x%d}\na: &a %s\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n", i, strings.Repeat("x", 150<<10))
	}
	return b.String()
}

func TestAnnotationsWithMeaning(t *testing.T) {
	data := map[string]string{"a": object("Service", "x")}
	for _, annotation := range []string{"projectsveltos.io/instantiate", "projectsveltos.io/tex-template", "example.org/lua"} {
		got, err := noTemplates(t).Objects(t.Context(), annotated(configMap(data), annotation), nil)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %d objects, %v", annotation, len(got), err)
		}
	}
}

func TestTemplates(t *testing.T) {
	r := newRenderer(t)
	cluster := map[string]any{"metadata": map[string]any{
		"name": "cluster1", "namespace": "civo", "labels": map[string]any{"env": "prod"},
	}}
	data := map[string]string{
		"a": "apiVersion: v1\nkind: Namespace\nmetadata: {name: '{{ .Cluster.metadata.name }}'}\n",
		"b": "{{ if .KubeadmControlPlane }}x{{ end }}{{ if .InfrastructureProvider }}x{{ end }}",
		"c": "{{ range until 2 }}---\napiVersion: v1\nkind: A\nmetadata: {name: n{{ . }}, namespace: {{ $.Cluster.metadata.namespace }}}\n{{ end }}",
	}
	want := []string{"Namespace cluster1", "A civo/n0", "A civo/n1"}
	for _, source := range []Source{configMap(data), secret(data)} {
		got, err := r.Objects(t.Context(), annotated(source, AnnotationTemplate), TemplateData(cluster))
		if diff := cmp.Diff(want, names(got)); err != nil || diff != "" {
			t.Errorf("%s: %v; objects (-want +got):\n%s", source.Kind, err, diff)
		}
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	r := newRenderer(t)
	for name, tc := range map[string]struct{ text, want string }{
		"a mistake":      {"a: 1\nb: {{ .Cluster", `ConfigMap default/policy, key "b.yaml": template b.yaml, line 2: unclosed action`},
		"a missing key":  {"{{ .Cluster.spec.x }}", `key "b.yaml": template b.yaml, line 1: at <.Cluster.spec.x>: map has no entry for key "spec"`},
		"other data":     {"{{ .MgmtResources.x }}", `map has no entry for key "x"`},
		"a bomb":         {"{{ range 2000000000 }}{{ end }}", `key "b.yaml": template b.yaml: evaluation took too long (limit 1s)`},
		"broken output":  {"{{ `a: [` }}", `key "b.yaml", document 1: not valid YAML`},
		"too much of it": {"{{ repeat 4000000 `x` }}", `key "b.yaml", document 1: the document has 4000000 bytes`},
	} {
		t.Run(name, func(t *testing.T) {
			source := annotated(configMap(map[string]string{"a.yaml": object("A", "a"), "b.yaml": tc.text}), AnnotationTemplate)
			got, err := r.Objects(t.Context(), source, TemplateData(map[string]any{}))
			if got != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %d objects and %v, want %s", len(got), err, tc.want)
			}
		})
	}
}

func TestObjectsEndWithTheirContext(t *testing.T) {
	reason := errors.New("the term is over")
	source := annotated(secret(map[string]string{"a": object("A", "x"), "b": object("A", "v")}), AnnotationTemplate)
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &Renderer{Templates: templateFunc(func(_ context.Context, tmpl script.Template) (string, error) {
		cancel(reason)
		return tmpl.Text, nil
	})}
	got, err := r.Objects(ctx, source, nil)
	if got != nil || !errors.Is(err, reason) {
		t.Errorf("got %d objects, %v, want %v", len(got), err, reason)
	}
}

// The source is what was read from a shared cache; rendering must not change it.
func TestObjectsLeaveTheSourceAlone(t *testing.T) {
	source := configMap(map[string]string{"a": "{apiVersion: v1, kind: AList, items: [{metadata: {name: x}}]}"})
	before := maps.Clone(source.Data)
	for range 2 {
		got, err := noTemplates(t).Objects(t.Context(), source, nil)
		if err != nil {
			t.Fatal(err)
		}
		got[0].SetName("changed")
	}
	if diff := cmp.Diff(before, source.Data); diff != "" {
		t.Errorf("source (-before +after):\n%s", diff)
	}
}

func TestQuotesInErrorsAreShort(t *testing.T) {
	long := strings.Repeat("é", maxQuote)
	for name, data := range map[string]string{
		"a name": "{kind: A, metadata: {name: " + long + "}}",
		"a kind": "{kind: " + long + "}",
		"detail": "a: *" + strings.Repeat("x", 10*maxQuote),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := noTemplates(t).Objects(t.Context(), configMap(map[string]string{"a": data}), nil)
			if err == nil || len(err.Error()) > 2*maxQuote || !utf8.ValidString(err.Error()) || !strings.Contains(err.Error(), "…") {
				t.Errorf("got %v", err)
			}
		})
	}
}
