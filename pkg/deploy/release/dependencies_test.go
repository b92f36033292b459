// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveParent serves a chart that depends on another one, of a repository.
func serveParent(t *testing.T, server *chartServer, dependency string) ChartRef {
	t.Helper()
	archive := pack(t, "parent", files("parent", "1.0.0", "Chart.yaml", "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n- "+dependency+"\n"))
	server.set("/parents/parent-1.0.0.tgz", archive)
	server.set("/parents/index.yaml", []byte("apiVersion: v1\nentries:\n  parent:\n  - {version: 1.0.0, urls: [parent-1.0.0.tgz]}\n"))
	return ChartRef{RepositoryURL: "https://charts.example/parents", RepositoryName: "family", ChartName: "parent", Version: "1.0.0", DependencyUpdate: true}
}

func TestDependenciesAreLoaded(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	ref := serveParent(t, server, "{name: kyverno, version: ^3.0.0, repository: 'https://charts.example/stable'}")
	got := mustLoad(t, m, ref)
	for range 2 { // each time a new copy
		parsed, err := got.parse()
		if err != nil {
			t.Fatal(err)
		}
		held := parsed.Dependencies()
		if len(held) != 1 || held[0].Name() != "kyverno" || held[0].Metadata.Version != "3.3.3" || held[0].Parent() != parsed {
			t.Errorf("it holds %+v", held)
		}
	}
	alone := ref
	alone.DependencyUpdate = false
	if _, err := m.LoadChart(t.Context(), alone); err == nil || !strings.Contains(err.Error(), "kyverno") {
		t.Errorf("without the option: %v", err)
	}
	if got.Digest == digestOf(got.archive) {
		t.Error("the digest says nothing of what it depends on")
	}
	b := newHelmBench(t)
	b.mustDeploy(got, nil)
	if manifest := b.last().Manifest; !strings.Contains(manifest, "# Source: parent/charts/kyverno/templates/config.yaml") {
		t.Errorf("deployed %s", manifest)
	}
}

func TestDependenciesThatCannotBeLoaded(t *testing.T) {
	for name, tc := range map[string]struct{ dependency, want string }{
		"no repository":   {"{name: kyverno, version: 3.3.3}", "no repository that it could be loaded from"},
		"a file":          {"{name: kyverno, version: 3.3.3, repository: 'file://../kyverno'}", "no repository that it could be loaded from"},
		"another's name":  {"{name: kyverno, version: 3.3.3, repository: '@stable'}", `a repository called "stable"`},
		"credentials":     {"{name: kyverno, version: 3.3.3, repository: 'https://me:hunter22@charts.example/stable'}", "has credentials in its URL"},
		"no such version": {"{name: kyverno, version: 9.9.9, repository: 'https://charts.example/stable'}", "kyverno"},
		"in the family":   {"{name: kyverno, version: 3.3.3, repository: 'alias:family'}", "https://charts.example/parents"},
	} {
		t.Run(name, func(t *testing.T) {
			m, server := newRepositoryManager(t, nil)
			_, err := m.LoadChart(t.Context(), serveParent(t, server, tc.dependency))
			chartError(t, err)
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter22") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDependenciesThatAreThereAreKept(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	server.serveIndex(t, "/whole", "nginx", "1.0.0")
	ref := ChartRef{RepositoryURL: "https://charts.example/whole", ChartName: "nginx", Version: "1.0.0", DependencyUpdate: true}
	got := mustLoad(t, m, ref)
	if len(got.dependencies) != 0 || got.Digest != digestOf(got.archive) {
		t.Errorf("%d dependencies", len(got.dependencies))
	}
	if diff := cmp.Diff([]string{"/whole/index.yaml", "/whole/nginx-1.0.0.tgz"}, server.take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// A chart names as many others as it likes, each of which is kept in memory with it.
func TestDependenciesAreBounded(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	serve := func(name string, more ...string) {
		server.set("/many/"+name+"-1.0.0.tgz", pack(t, name, files(name, "1.0.0", more...)))
	}
	index := "apiVersion: v1\nentries:\n"
	dependencies := ""
	for i := range maxDependencies + 1 {
		name := fmt.Sprintf("c%d", i)
		serve(name)
		index += fmt.Sprintf("  %s: [{version: 1.0.0, urls: [%s-1.0.0.tgz]}]\n", name, name)
		dependencies += fmt.Sprintf("{name: %s, version: 1.0.0, repository: 'https://charts.example/many'}\n- ", name)
	}
	server.set("/many/index.yaml", []byte(index))
	_, err := m.LoadChart(t.Context(), serveParent(t, server, strings.TrimSuffix(dependencies, "\n- ")))
	if chartError(t, err); !strings.Contains(err.Error(), "more than 100 charts") {
		t.Errorf("many: %v", err)
	}

	large := strings.Repeat("x", 4<<20)
	for i := range 5 {
		serve(fmt.Sprintf("c%d", i), "a.txt", large, "b.txt", large)
	}
	m = NewManager(Options{Mirror: mirrorTo(server)})
	first := strings.Join(strings.SplitAfter(dependencies, "\n- ")[:5], "")
	_, err = m.LoadChart(t.Context(), serveParent(t, server, strings.TrimSuffix(first, "\n- ")))
	if chartError(t, err); !strings.Contains(err.Error(), "larger than one may be") {
		t.Errorf("large: %v", err)
	}
}

// A small archive may unpack to much more than its own size.
func TestChartsThatUnpackToTooMuch(t *testing.T) {
	m, server := newRepositoryManager(t, nil)
	var bomb []string
	for i := range 9 {
		bomb = append(bomb, fmt.Sprintf("files/%d.txt", i), strings.Repeat("x", 4<<20))
	}
	archive := pack(t, "bomb", files("bomb", "1.0.0", bomb...))
	server.set("/bombs/bomb-1.0.0.tgz", archive)
	server.set("/bombs/index.yaml", []byte("apiVersion: v1\nentries:\n  bomb: [{version: 1.0.0, urls: [bomb-1.0.0.tgz]}]\n"))
	for name, ref := range map[string]ChartRef{
		"a repository": {RepositoryURL: "https://charts.example/bombs", ChartName: "bomb"},
		"a package":    {RepositoryURL: "bucket://a/b", ChartName: "bomb", Files: &Files{Digest: "b", Archive: archive}},
	} {
		_, err := m.LoadChart(t.Context(), ref)
		if chartError(t, err); !strings.Contains(err.Error(), "unpacks to more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
