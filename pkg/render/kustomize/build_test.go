// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/kustomize"
)

const (
	configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1'}\n"
	component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
)

func contents(files map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, text := range files {
		out[name] = []byte(text)
	}
	return out
}

func build(t *testing.T, request kustomize.Request) (string, error) {
	t.Helper()
	out, err := kustomize.NewBuilder(kustomize.InProcess(render.CheckYAML)).Build(t.Context(), request)
	return string(out), err
}

func TestBuild(t *testing.T) {
	files := contents(map[string]string{
		"base/kustomization.yaml":            "resources: [settings.yaml]\n",
		"base/settings.yaml":                 configMap,
		"overlays/prod/kustomization.yml":    "resources: [../../base]\nnamePrefix: prod-\npatches: [{path: patch.yaml}]\nconfigMapGenerator: [{name: more, files: [x=file.txt], options: {disableNameSuffixHash: true}}]\n",
		"overlays/prod/patch.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {b: '2'}\n",
		"overlays/prod/file.txt":             "& * no YAML: [",
		"components/loud/kustomization.yaml": component + "commonAnnotations: {loud: 'yes'}\n",
		"unused/kustomization.yaml":          "resources: ['https://example.com/x']\n",
	})
	tests := []struct {
		path       string
		components []string
		has        []string
		hasNot     []string
	}{
		{path: "base", has: []string{"name: settings", `a: "1"`}, hasNot: []string{"prod-", "b:"}},
		{path: "./overlays/prod/", has: []string{"name: prod-settings", `b: "2"`, "name: prod-more", "no YAML"}, hasNot: []string{"loud"}},
		{path: "/overlays/../overlays/prod", has: []string{"name: prod-settings"}},
		{path: "overlays/prod", components: []string{"../../components/loud"}, has: []string{`loud: "yes"`, "name: prod-settings"}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			out, err := build(t, kustomize.Request{Files: files, Digest: "a", Path: tt.path, Components: tt.components})
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range tt.has {
				if !strings.Contains(out, text) {
					t.Errorf("%q is not in\n%s", text, out)
				}
			}
			for _, text := range tt.hasNot {
				if strings.Contains(out, text) {
					t.Errorf("%q is in\n%s", text, out)
				}
			}
		})
	}
	if string(files["overlays/prod/kustomization.yml"])[:10] != "resources:" {
		t.Error("components were written into the caller's files")
	}
}

// deep returns kustomizations of which each multiplies the one below it.
func deep(levels int) map[string]string {
	files := map[string]string{"l0/kustomization.yaml": "resources: [a.yaml]\n", "l0/a.yaml": configMap}
	for i := 1; i <= levels; i++ {
		for _, side := range []string{"a", "b"} {
			files[fmt.Sprintf("l%d/%s/kustomization.yaml", i, side)] = fmt.Sprintf("resources: [../../l%d]\nnamePrefix: %s-\n", i-1, side)
		}
		files[fmt.Sprintf("l%d/kustomization.yaml", i)] = "resources: [a, b]\n"
	}
	files["kustomization.yaml"] = fmt.Sprintf("resources: [l%d]\n", levels)
	return files
}

func TestBuildRefuses(t *testing.T) {
	var reached sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Store(r.URL.Path, true)
		fmt.Fprint(w, configMap)
	}))
	defer server.Close()
	bomb := "a: &a [" + strings.Repeat("x,", 1000) + "x]\nb: &b [" + strings.Repeat("*a,", 1000) + "*a]\nc: [" + strings.Repeat("*b,", 1000) + "*b]\n"
	root := func(text string) map[string]string {
		return map[string]string{"kustomization.yaml": text, "a.yaml": configMap, "dir/kustomization.yaml": "resources: [a.yaml]\n", "dir/a.yaml": configMap}
	}
	with := func(text, name, content string) map[string]string {
		files := root(text)
		files[name] = content
		return files
	}
	tests := map[string]struct {
		files      map[string]string
		path       string
		components []string
		want       string
	}{
		"remote file":               {files: root("resources: [a.yaml, '" + server.URL + "/remote.yaml']"), want: "remote resource is not fetched"},
		"remote file, capitals":     {files: root("RESOURCES: ['" + server.URL + "/capitals.yaml']"), want: "remote resource is not fetched"},
		"remote base":               {files: root("resources: ['github.com/example/repo//base?ref=v1']"), want: "remote resource is not fetched"},
		"remote base over ssh":      {files: root("bases: ['git@example.com:a/b.git']"), want: "remote resource is not fetched"},
		"remote base, though there": {files: with("resources: [github.com/a/b]", "github.com/a/b/kustomization.yaml", "resources: []"), want: "remote resource is not fetched"},
		"remote base by git":        {files: root("resources: ['git::https://example.com/a']"), want: "remote resource is not fetched"},
		"remote base, short":        {files: root("resources: ['gh:a/b']"), want: "remote resource is not fetched"},
		"remote base by a file":     {files: root("resources: ['file:///etc']"), want: "remote resource is not fetched"},
		"remote base by a user":     {files: root("resources: ['me@example.com:a/b']"), want: "remote resource is not fetched"},
		"remote base on Azure":      {files: root("resources: ['dev.azure.com/a/_git/b']"), want: "remote resource is not fetched"},
		"remote base, GitHub":       {files: root("resources: ['GITHUB.com/a/b']"), want: "remote resource is not fetched"},
		"remote component":          {files: root("components: ['https://github.com/a/b']"), want: "remote resource is not fetched"},
		"remote component, added":   {files: root("resources: [a.yaml]"), components: []string{"https://github.com/a/b"}, want: "remote resource is not fetched"},
		"remote in a base":          {files: with("resources: [dir]", "dir/kustomization.yaml", "resources: ['"+server.URL+"/base']"), want: "remote resource is not fetched"},
		"remote patch":              {files: root("resources: [a.yaml]\npatches: [{path: '" + server.URL + "/patch'}]"), want: "remote file is not fetched"},
		"remote old patch":          {files: root("resources: [a.yaml]\npatchesStrategicMerge: ['" + server.URL + "/old']"), want: "remote file is not fetched"},
		"remote replacement":        {files: root("replacements: [{path: '" + server.URL + "/replacement'}]"), want: "remote file is not fetched"},
		"remote data":               {files: root("configMapGenerator: [{name: a, files: ['x=" + server.URL + "/data']}]"), want: "remote file is not fetched"},
		"remote secret":             {files: root("secretGenerator: [{name: a, envs: ['" + server.URL + "/env']}]"), want: "remote file is not fetched"},
		"remote definitions":        {files: root("crds: ['" + server.URL + "/crd']"), want: "remote file is not fetched"},
		"remote configuration":      {files: root("configurations: ['" + server.URL + "/config']"), want: "remote file is not fetched"},
		"remote generator":          {files: with("generators: [g.yaml]", "g.yaml", "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: a}\nname: a\nfiles: ['x="+server.URL+"/generator']\n"), want: "with a URL in them"},
		"remote inline generator":   {files: root("generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: a}\n  files: ['x=" + server.URL + "/inline']\n"), want: "with a URL in them"},
		"directory of generators":   {files: root("generators: [dir]"), want: "a file is not in the source"},
		"chart":                     {files: root("helmCharts: [{name: a, repo: 'https://example.com'}]"), want: "charts in a kustomization"},
		"chart by generator":        {files: with("generators: [g.yaml]", "g.yaml", "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: a}\nname: a\n"), want: "charts in a kustomization"},
		"program": {
			files: with("transformers: [t.yaml]", "t.yaml", "apiVersion: x/v1\nkind: T\nmetadata:\n  name: a\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: /bin/true}\n"),
			want:  "cannot be built",
		},
		"schema":              {files: root("openapi: {path: a.yaml}"), want: "openapi is not supported"},
		"missing resource":    {files: root("resources: [b.yaml]"), want: "a resource is not in the source: b.yaml"},
		"missing patch":       {files: root("patches: [{path: b.yaml}]"), want: "a file is not in the source: b.yaml"},
		"file of another":     {files: with("resources: [dir]", "dir/kustomization.yaml", "resources: [../a.yaml]"), want: "cannot be built"},
		"out of the source":   {files: root("resources: [../../etc]"), want: "a resource is not in the source"},
		"absolute":            {files: root("resources: [/a.yaml]"), want: "absolute path"},
		"missing path":        {files: root(""), path: "overlays/x", want: "there is no such directory in the source: overlays/x"},
		"path that leaves":    {files: root(""), path: "dir/../../x", want: "its path leaves the source"},
		"path to a file":      {files: root("resources: [a.yaml]"), path: "a.yaml", want: "there is no such directory"},
		"no kustomization":    {files: map[string]string{"a.yaml": configMap}, want: "there is no kustomization file"},
		"two kustomizations":  {files: with("resources: [a.yaml]", "kustomization.yml", "resources: [a.yaml]"), want: "two kustomization files"},
		"cycle":               {files: with("resources: [dir]", "dir/kustomization.yaml", "resources: [..]"), want: "refer to too many others"},
		"multiplication":      {files: deep(12), want: "refer to too many others"},
		"no YAML":             {files: root("resources: ["), want: "not valid"},
		"unknown field":       {files: root("resource: [a.yaml]"), want: "a kustomization file is not valid"},
		"aliases":             {files: with("resources: [b.yaml]", "b.yaml", bomb), want: "a document in it is not valid YAML"},
		"aliases in a patch":  {files: with("resources: [a.yaml]\npatches: [{path: b.yaml}]", "b.yaml", bomb), want: "a document in it is not valid YAML"},
		"aliases in its file": {files: root(bomb), want: "a document in it is not valid YAML"},
		"missing component":   {files: root("resources: [a.yaml]"), components: []string{"x"}, want: "a resource is not in the source: x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := build(t, kustomize.Request{Files: contents(tt.files), Digest: name, Path: tt.path, Components: tt.components})
			var refused *kustomize.Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Build() = %q, %v; want %q", out, err, tt.want)
			}
		})
	}
	reached.Range(func(path, _ any) bool {
		t.Errorf("%s was fetched", path)
		return true
	})
}

func TestBuildIsRemembered(t *testing.T) {
	builder := kustomize.NewBuilder(kustomize.InProcess(render.CheckYAML))
	request := kustomize.Request{Files: contents(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap}), Digest: "d"}
	first, err := builder.Build(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	request.Files = nil // whoever has built it once needs no files
	if again, err := builder.Build(t.Context(), request); err != nil || string(again) != string(first) {
		t.Errorf("Build() = %q, %v", again, err)
	}
	request.Digest = "e"
	if _, err := builder.Build(t.Context(), request); err == nil {
		t.Error("another digest has the same result")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := builder.Build(ended, request); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
