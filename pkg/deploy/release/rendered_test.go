// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
	"github.com/muster-project/muster/pkg/script"
)

// inProcess runs the renderer's program in this process.
type inProcess struct{ err error }

func (p inProcess) Work(_ context.Context, w script.Work) ([]byte, error) {
	if p.err != nil {
		return nil, p.err
	}
	return rendering.Program().Run(w.Input), nil
}

// much is a chart with what a rendered chart has to keep.
func much(b *helmBench, version string) *Chart {
	return b.chart(version,
		"Chart.yaml", "apiVersion: v2\nname: nginx\nversion: "+version+"\ndependencies:\n- {name: sub, version: 1.0.0}\n- {name: idle, version: 1.0.0, condition: idle.enabled}\n",
		"values.yaml", "replicas: 1\nidle: {enabled: false}\nsub: {color: blue}\n",
		"values.schema.json", `{"properties": {"replicas": {"type": "integer"}}}`,
		"templates/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {replicas: {{ .Values.replicas | quote }}, revision: {{ .Release.Revision | quote }}, literal: '{{ \"{{- x -}}\" }}'}\n",
		"templates/hook.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hook, annotations: {helm.sh/hook: post-install}}\n",
		"templates/NOTES.txt", "Revision {{ .Release.Revision }}\n",
		"crds/crd.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec: {group: example.com, names: {kind: Widget}, versions: [{name: v1, served: true}, {name: v0, served: false}]}\n",
		"charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
		"charts/sub/templates/sub.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: sub}\nstringData: {color: {{ .Values.color }}}\n",
		"charts/idle/Chart.yaml", "apiVersion: v2\nname: idle\nversion: 1.0.0\n",
		"charts/idle/templates/idle.yaml", "kind: Idle\n",
	)
}

// newest is the last revision that is stored.
func (b *helmBench) newest() *helmrelease.Release {
	b.t.Helper()
	b.storage.SetNamespace("apps")
	history, err := readHistory(storage.Init(b.storage), "web")
	if err != nil || len(history) == 0 {
		b.t.Fatal(history, err)
	}
	return history[len(history)-1]
}

// What is rendered elsewhere is released as if Helm had rendered it: the same manifests,
// hooks and notes, and the chart as it was.
func TestRenderedElsewhere(t *testing.T) {
	here, there := newHelmBench(t), newHelmBench(t)
	there.manager.options.Rendering = rendering.New(inProcess{})
	for _, values := range []map[string]any{{"replicas": float64(2)}, {"replicas": float64(3), "idle": map[string]any{"enabled": false}}} {
		for _, b := range []*helmBench{here, there} {
			b.mustDeploy(much(b, "1.0.0"), values)
		}
		want, got := here.newest(), there.newest()
		if diff := cmp.Diff(want.Manifest, got.Manifest); diff != "" {
			t.Errorf("manifests (-here +elsewhere):\n%s", diff)
		}
		if len(got.Hooks) != 1 || got.Hooks[0].Manifest != want.Hooks[0].Manifest || got.Info.Notes != want.Info.Notes {
			t.Errorf("hooks %v, notes %q", got.Hooks, got.Info.Notes)
		}
		if !strings.Contains(got.Manifest, "# Source: nginx/charts/sub/templates/sub.yaml") || !strings.Contains(got.Manifest, "'{{- x -}}'") {
			t.Errorf("the manifest is %s", got.Manifest)
		}
		if diff := cmp.Diff(want.Config, got.Config); diff != "" {
			t.Errorf("values (-here +elsewhere):\n%s", diff)
		}
		var files []string
		for _, file := range got.Chart.Raw {
			files = append(files, file.Name)
		}
		if len(got.Chart.Templates) != len(want.Chart.Templates) || len(got.Chart.Dependencies()) != 1 || string(got.Chart.Schema) == "" || len(files) == 0 {
			t.Errorf("the chart that is stored: %d templates, %d dependencies, files %q", len(got.Chart.Templates), len(got.Chart.Dependencies()), files)
		}
		for i := range got.Chart.Templates {
			if string(got.Chart.Templates[i].Data) != string(want.Chart.Templates[i].Data) {
				t.Errorf("template %s is stored as\n%s", got.Chart.Templates[i].Name, got.Chart.Templates[i].Data)
			}
		}
	}
	if outcome, err := there.deploy(much(there, "1.0.0"), map[string]any{"replicas": float64(3), "idle": map[string]any{"enabled": false}}); err != nil || outcome.Action != Unchanged {
		t.Errorf("once more: %v, %v", outcome, err)
	}
}

// The settings of a release mean the same wherever its chart is rendered.
func TestSettingsOfChartsRenderedElsewhere(t *testing.T) {
	const template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {size: {{ .Values.size | quote }}, color: {{ .Values.color | quote }}}"
	values := func(renderer *rendering.Renderer, settings Settings) string {
		b := newHelmBench(t)
		b.manager.options.Rendering = renderer
		b.mustDeploy(b.chart("1.0.0", "templates/config.yaml", template, "values.yaml", "{size: small, color: grey}"), map[string]any{"color": "blue"})
		next := b.chart("1.1.0", "templates/config.yaml", template, "values.yaml", "{size: small, color: grey}", "values.schema.json", `{"properties": {"size": {"type": "integer"}}}`)
		settings.SkipSchemaValidation = true
		if _, err := b.manager.Deploy(t.Context(), Cluster{}, Release{Namespace: "apps", Name: "web", Chart: next, Values: map[string]any{"size": "large"}, Settings: settings}); err != nil {
			t.Fatal(err)
		}
		return b.newest().Manifest
	}
	for name, settings := range map[string]Settings{
		"values of the profile alone": {}, "reused": {Upgrade: UpgradeSettings{ReuseValues: true}}, "reset and reused": {Upgrade: UpgradeSettings{ResetThenReuseValues: true}},
	} {
		if diff := cmp.Diff(values(nil, settings), values(rendering.New(inProcess{}), settings)); diff != "" {
			t.Errorf("%s (-here +elsewhere):\n%s", name, diff)
		}
	}
}

// Charts that are not in the archive are rendered with it.
func TestDependenciesAreRenderedElsewhere(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	whole := mustLoad(t, m, serveParent(t, server, "{name: kyverno, version: ^3.0.0, repository: 'https://charts.example/stable'}"))
	b := newHelmBench(t)
	b.manager.options.Rendering = rendering.New(inProcess{})
	b.mustDeploy(whole, nil)
	if manifest := b.newest().Manifest; !strings.Contains(manifest, "# Source: parent/charts/kyverno/templates/config.yaml") {
		t.Errorf("deployed %s", manifest)
	}
}

// What is wrong with a chart is the chart's fault, as it is when Helm finds it.
func TestChartsThatAreNotRendered(t *testing.T) {
	for name, tt := range map[string]struct {
		template string
		values   map[string]any
		workers  error
		chart    bool
		says     string
	}{
		"a template":     {"{{ .Values.a.b.c }}", nil, nil, true, "templates/config.yaml"},
		"a failure":      {"{{ fail \"give a name\" }}", nil, nil, true, "give a name"},
		"the schema":     {"a: b", map[string]any{"replicas": "many"}, nil, true, "specifications of the schema"},
		"a limit":        {"a: b", nil, script.ErrTimeout, true, "evaluation took too long"},
		"broken workers": {"a: b", nil, script.ErrWorker, false, "script worker failed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newHelmBench(t)
			b.manager.options.Rendering = rendering.New(inProcess{tt.workers})
			c := b.chart("1.0.0", "templates/config.yaml", tt.template, "values.schema.json", `{"properties": {"replicas": {"type": "integer"}}}`)
			_, err := b.deploy(c, tt.values)
			var blamed *ChartError
			if err == nil || errors.As(err, &blamed) != tt.chart || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if blamed != nil && blamed.Reason != Render {
				t.Errorf("the reason is %s", blamed.Reason)
			}
			b.storage.SetNamespace("apps")
			if history, err := readHistory(storage.Init(b.storage), "web"); err != nil || len(history) > 0 {
				t.Errorf("something was stored: %v, %v", history, err)
			}
		})
	}
}

func TestWhatDefinitionsServe(t *testing.T) {
	b := newHelmBench(t)
	parsed, err := much(b, "1.0.0").parse()
	if err != nil {
		t.Fatal(err)
	}
	served, err := servedBy(parsed)
	if diff := cmp.Diff([]string{"example.com/v1", "example.com/v1/Widget"}, served); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
