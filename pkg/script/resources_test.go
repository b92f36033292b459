// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// hostDeployment is what a template is given of an object of the host.
func hostDeployment() map[string]any {
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web", "uid": "u", "resourceVersion": "7", "labels": map[string]any{"a.b/c": "1"}},
		"spec":     map[string]any{"replicas": int64(3), "paused": nil},
	}
}

func TestResourceFunctions(t *testing.T) {
	pool, _ := runPool(t, Options{})
	data := map[string]any{DataResources: map[string]any{"web": hostDeployment(), "missing": nil}}
	const yaml = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n    labels:\n        a.b/c: \"1\"\n    name: web\n"
	for name, tc := range map[string]struct{ text, want string }{
		"data":                   {`{{ .MgmtResources.web.spec.replicas }}`, "3"},
		"data, missing":          {`{{ if .MgmtResources.missing }}x{{ else }}y{{ end }}`, "y"},
		"getResource":            {`{{ (getResource "web").metadata }}`, "map[labels:map[a.b/c:1] name:web]"},
		"getResource, missing":   {`{{ with getResource "missing" }}x{{ else }}y{{ end }}`, "y"},
		"copy":                   {`{{ copy "web" }}`, yaml + "spec:\n    paused: null\n    replicas: 3"},
		"getField":               {`{{ getField "web" "metadata.labels['a.b/c']" }}`, "1"},
		"getField, not there":    {`{{ getField "web" "spec.other" | default "none" }}`, "none"},
		"getField, null":         {`[{{ getField "web" "spec.paused" }}]`, "[]"},
		"setField":               {`{{ setField "web" "spec" (dict "replicas" 5) }}`, yaml + "spec:\n    replicas: 5"},
		"removeField":            {`{{ removeField "web" "spec" }}`, strings.TrimSuffix(yaml, "\n")},
		"removeField, not there": {`{{ removeField "web" "spec.no.such" }}`, yaml + "spec:\n    paused: null\n    replicas: 3"},
		"chains": {
			`{{ $o := getResource "web" }}{{ $o = chainSetField $o "spec.replicas" 9 }}{{ $o = chainRemoveField $o "metadata" }}{{ toJson $o }}`,
			`{"apiVersion":"apps/v1","kind":"Deployment","spec":{"paused":null,"replicas":9}}`,
		},
		"what is set is a copy": {`{{ $o := chainSetField (getResource "web") "spec.replicas" 9 }}{{ getField "web" "spec.replicas" }}{{ .MgmtResources.web.spec.replicas }}`, "33"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := render(t, pool, tc.text, data); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
	for text, want := range map[string]string{
		`{{ getResource "other" }}`:                        `there is no "other" in templateResourceRefs, only missing, web`,
		`{{ copy "missing" }}`:                             `the resource "missing" is missing, which is allowed`,
		`{{ getField "missing" "a" }}`:                     `is missing, which is allowed`,
		`{{ getField "web" "a..b" }}`:                      `the path of field "a..b" has an empty name`,
		`{{ setField "web" "spec.replicas.more" 1 }}`:      `setting field spec.replicas.more`,
		`{{ .MgmtResources.other }}`:                       `no entry for key "other"`,
		`{{ chainSetField (getResource "missing") "" 1 }}`: `names no field`,
	} {
		_, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: text, Data: data})
		if own, ok := errors.AsType[*TemplateError](err); !ok || !strings.Contains(own.Message, want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := pool.RenderTemplate(t.Context(), Template{Name: "test", Text: `{{ copy "web" }}`}); err == nil || !strings.Contains(err.Error(), "which are empty") {
		t.Errorf("without any: %v", err)
	}
}

// None of them hides a function that templates have otherwise.
func TestResourceFunctionsHideNothing(t *testing.T) {
	others := funcMap()
	for name := range maps.Keys(resourceFuncs(nil)) {
		if _, found := others[name]; found {
			t.Errorf("%s is there twice", name)
		}
	}
}
