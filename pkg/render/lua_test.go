// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"strings"
	"testing"

	"github.com/muster-project/muster/pkg/script"
)

// generator is a source with scripts by key.
func generator(data map[string]string) Source {
	return annotated(configMap(data), AnnotationLua)
}

// seen are the objects of the host that generators see.
func seen() map[string]any {
	data := TemplateData(map[string]any{"metadata": map[string]any{"name": "cluster1"}})
	data[script.DataResources] = map[string]any{
		"Cluster": map[string]any{"metadata": map[string]any{"name": "cluster1", "labels": map[string]any{"env": "prod"}}},
		"missing": nil,
	}
	return data
}

func TestGenerators(t *testing.T) {
	r := newRenderer(t)
	objects, err := r.Objects(t.Context(), generator(map[string]string{
		"a.lua": `
function evaluate()
  local json = require("json")
  local made = {}
  for _, name in ipairs({"one", "two"}) do
    made[#made + 1] = json.encode({apiVersion = "v1", kind = "Namespace", metadata = {name = name .. "-" .. resources.Cluster.metadata.name}})
  end
  if resources.missing ~= nil then error("there") end
  return {resources = table.concat(made, "\n---\n")}
end`,
		"b.lua": `
function evaluate(given)
  return {resources = "apiVersion: v1\nkind: Namespace\nmetadata: {name: " .. getLabel(getResource(given, "Cluster"), "env") .. "}"}
end`,
	}), seen())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range objects {
		names = append(names, object.GetName())
	}
	if got := strings.Join(names, " "); got != "one-cluster1 two-cluster1 prod" {
		t.Errorf("made %s", got)
	}
}

func TestGeneratorsThatFail(t *testing.T) {
	r := newRenderer(t)
	returning := func(expression string) Source {
		return generator(map[string]string{"a.lua": "function evaluate()\n  return " + expression + "\nend"})
	}
	for name, tt := range map[string]struct {
		source Source
		want   string
	}{
		"syntax":             {generator(map[string]string{"a.lua": "function evaluate("}), `ConfigMap default/policy, key "a.lua": script a.lua: at its end`},
		"an error":           {returning(`resources.none.metadata`), `script a.lua, line 2: `},
		"no evaluate":        {generator(map[string]string{"a.lua": "x = 1"}), "no function evaluate"},
		"no table":           {returning(`"x"`), "has to return a table"},
		"no resources":       {returning(`{other = "x"}`), "a table with a string resources"},
		"a table of objects": {returning(`{resources = {{kind = "Namespace"}}}`), "has to be a string"},
		"nothing":            {returning(`{resources = ""}`), "holds no objects"},
		"no manifest":        {returning(`{resources = "a: b"}`), `key "a.lua", document 1: apiVersion is missing`},
		"the machine":        {returning(`{resources = os.getenv("HOME")}`), "line 2: "},
		"a loop":             {generator(map[string]string{"a.lua": "function evaluate()\n  while true do end\nend"}), "evaluation took too long"},
		"a template too":     {annotated(returning(`{}`), AnnotationLua, AnnotationTemplate), "is marked as a template and as a Lua script"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := r.Objects(t.Context(), tt.source, seen())
			var wrapped *SourceError
			if !errors.As(err, &wrapped) || len(objects) > 0 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if _, err := (&Renderer{}).Objects(t.Context(), returning("{}"), nil); !errors.Is(err, errNoScripts) {
		t.Errorf("without workers: %v", err)
	}
}

// A script in a Secret, and one that sees a Secret, says nothing in its error.
func TestGeneratorsKeepSecrets(t *testing.T) {
	source := generator(map[string]string{"a.lua": "function evaluate()\n  error('hunter2')\nend"})
	secret := source
	secret.Kind, secret.Type = "Secret", SecretType
	r := newRenderer(t)
	for name, tt := range map[string]struct {
		renderer *Renderer
		source   Source
	}{"in a Secret": {r, secret}, "that sees a Secret": {r.Discreet(), source}} {
		_, err := tt.renderer.Objects(t.Context(), tt.source, seen())
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.Discreet().String(t.Context(), "name", `{{ fail "hunter2" }}`, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a template: %v", err)
	}
}

// Values, patches and kustomizations are no manifests, and a script makes none of them.
func TestTextsAreNotGenerated(t *testing.T) {
	_, err := newRenderer(t).Texts(t.Context(), generator(map[string]string{"a": "x"}), nil)
	if !errors.Is(err, errLuaValues) {
		t.Errorf("error is %v", err)
	}
}
