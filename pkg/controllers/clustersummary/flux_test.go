// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render/flux"
)

// fluxHost is a host with sources of Flux, by kind/namespace/name, in one version.
type fluxHost struct {
	client.Reader
	version string
	objects map[string]*unstructured.Unstructured
}

func (h fluxHost) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	out, ok := into.(*unstructured.Unstructured)
	if !ok {
		return h.Reader.Get(ctx, key, into, opts...)
	}
	kind := out.GroupVersionKind()
	if kind.Version != h.version || kind.Group != flux.Group {
		return &meta.NoKindMatchError{GroupKind: kind.GroupKind(), SearchedVersions: []string{kind.Version}}
	}
	found, ok := h.objects[kind.Kind+"/"+key.String()]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: flux.Group, Resource: kind.Kind}, key.Name)
	}
	found.DeepCopyInto(out)
	return nil
}

// fluxSourceOf is a source whose artifact is served at a path.
func fluxSourceOf(path string, data []byte, annotations map[string]string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"artifact": map[string]any{
		"url": sourcesURL + path, "digest": fmt.Sprintf("sha256:%x", sha256.Sum256(data)), "revision": "main@sha1:1",
	}}}}
	object.SetAnnotations(annotations)
	return object
}

// newFluxBuilder is a builder for a host that serves v1 and has the sources given.
func newFluxBuilder(t *testing.T, tenant string, files map[string][]byte, objects map[string]*unstructured.Unstructured) *requestBuilder {
	t.Helper()
	b := newRemoteBuilder(t, tenant, hostObjects{}, files)
	b.host = fluxHost{Reader: b.host, version: "v1", objects: objects}
	b.artifacts = flux.NewStore(b.fetcher)
	return b
}

func TestFluxManifests(t *testing.T) {
	archive := packed(t, map[string]string{
		"README.md": "no: [manifest", "deploy/civo/a.yaml": namespaceManifest, "deploy/civo/b/c.json": `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"second"}}`,
		"deploy/other/d.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n", "template.txt": "apiVersion: v1\nkind: Namespace\nmetadata: {name: '{{ .Cluster.metadata.name }}'}\n",
	})
	objects := map[string]*unstructured.Unstructured{
		"GitRepository/civo/apps": fluxSourceOf("/apps.tar.gz", archive, nil), "OCIRepository/civo/apps": fluxSourceOf("/apps.tar.gz", archive, nil),
		"Bucket/civo/templates": fluxSourceOf("/apps.tar.gz", archive, map[string]string{"projectsveltos.io/template": ""}),
	}
	b := newFluxBuilder(t, "", map[string][]byte{"/apps.tar.gz": archive}, objects)
	list := b.objects(t.Context(), []configv1beta1.PolicyRef{
		{Kind: "GitRepository", Name: "apps", Path: "./deploy/{{ .ClusterNamespace }}", Tier: 100},
		{Kind: "Bucket", Name: "templates", Path: "template.txt"},
		{Kind: "OCIRepository", Name: "missing", Optional: true},
	})
	if list.Err != nil || len(list.Objects) != 3 {
		t.Fatalf("%d objects, %v", len(list.Objects), list.Err)
	}
	var names []string
	for _, object := range list.Objects {
		names = append(names, object.Content.GetName())
	}
	if diff := cmp.Diff([]string{"made", "second", "cluster1"}, names); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if want := (inventory.Source{Kind: "GitRepository", Namespace: "civo", Name: "apps", Tier: 100}); list.Objects[0].Source != want {
		t.Errorf("from %+v", list.Objects[0].Source)
	}
	if !b.due.IsZero() {
		t.Errorf("an artifact is fetched again at %s", b.due)
	}
	// Hosts with an older Flux serve another version.
	b.host = fluxHost{version: "v1beta2", objects: objects}
	if list := b.objects(t.Context(), []configv1beta1.PolicyRef{{Kind: "OCIRepository", Name: "apps", Path: "deploy/other"}}); list.Err != nil || len(list.Objects) != 1 {
		t.Errorf("%d objects, %v", len(list.Objects), list.Err)
	}
}

func TestFluxKustomization(t *testing.T) {
	archive := packed(t, map[string]string{"prod/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: prod-\n", "prod/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n"})
	b := newFluxBuilder(t, "", map[string][]byte{"/k": archive}, map[string]*unstructured.Unstructured{"GitRepository/civo/k": fluxSourceOf("/k", archive, nil)})
	list := b.kustomized(t.Context(), []configv1beta1.KustomizationRef{{Kind: "GitRepository", Name: "k", Path: "prod"}, {Kind: "GitRepository", Name: "none", Optional: true}})
	if list.Err != nil || len(list.Objects) != 1 || list.Objects[0].Content.GetName() != "prod-made" || list.Feature != deploy.Kustomize {
		t.Errorf("%+v, %v", list.Objects, list.Err)
	}
}

func TestBadFluxSources(t *testing.T) {
	good := packed(t, map[string]string{"a.yaml": namespaceManifest})
	bodies := map[string][]byte{"/good": good, "/escape": packed(t, map[string]string{"../a.yaml": namespaceManifest}), "/other": []byte("another")}
	waiting := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "status": "False", "reason": "GitOperationFailed", "message": "no such branch"},
	}}}}
	objects := map[string]*unstructured.Unstructured{
		"GitRepository/civo/good": fluxSourceOf("/good", good, nil), "GitRepository/civo/escape": fluxSourceOf("/escape", bodies["/escape"], nil),
		"GitRepository/civo/wrong": fluxSourceOf("/other", good, nil), "GitRepository/civo/gone": fluxSourceOf("/gone", good, nil),
		"GitRepository/civo/waiting": waiting, "GitRepository/other/good": fluxSourceOf("/good", good, nil),
		"GitRepository/civo/lua": fluxSourceOf("/good", good, map[string]string{"projectsveltos.io/subresources": "status"}),
	}
	for name, tt := range map[string]struct {
		ref          configv1beta1.PolicyRef
		want, reason string
	}{
		"missing":           {configv1beta1.PolicyRef{Name: "none"}, "GitRepository civo/none of the host: does not exist", configv1beta1.ReasonSourceMissing},
		"no artifact":       {configv1beta1.PolicyRef{Name: "waiting"}, "GitRepository civo/waiting of the host: has no artifact yet: GitOperationFailed: no such branch", configv1beta1.ReasonSourceMissing},
		"not even optional": {configv1beta1.PolicyRef{Name: "waiting", Optional: true}, "has no artifact yet", configv1beta1.ReasonSourceMissing},
		"no such path":      {configv1beta1.PolicyRef{Name: "good", Path: "deploy"}, `GitRepository civo/good: the artifact has nothing at path "deploy"`, configv1beta1.ReasonSourceInvalid},
		"a path outside":    {configv1beta1.PolicyRef{Name: "good", Path: `{{ "../" }}etc`}, "has nothing at path", configv1beta1.ReasonSourceInvalid},
		"traversal":         {configv1beta1.PolicyRef{Name: "escape"}, "GitRepository civo/escape: the path of a file leads out of the archive", configv1beta1.ReasonSourceInvalid},
		"a wrong digest":    {configv1beta1.PolicyRef{Name: "wrong"}, "GitRepository civo/wrong: fetching " + sourcesURL + "/other: it is not what it should be", configv1beta1.ReasonSourceInvalid},
		"an artifact gone":  {configv1beta1.PolicyRef{Name: "gone"}, "GitRepository civo/gone: fetching", configv1beta1.ReasonSourceMissing},
		"another namespace": {configv1beta1.PolicyRef{Name: "good", Namespace: "other"}, "reads from its own namespace", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFluxBuilder(t, "civo", bodies, objects)
			tt.ref.Kind = "GitRepository"
			list := b.objects(t.Context(), []configv1beta1.PolicyRef{tt.ref})
			if len(list.Objects) > 0 || list.Err == nil || !strings.Contains(list.Err.Error(), tt.want) {
				t.Fatalf("%d objects, error %v; want %q", len(list.Objects), list.Err, tt.want)
			}
			if tt.reason != "" && reasonOf(list.Err) != tt.reason {
				t.Errorf("reason %s, want %s", reasonOf(list.Err), tt.reason)
			}
		})
	}
	// Without Flux nothing is known of what is optional.
	b := newFluxBuilder(t, "", bodies, nil)
	b.host = fluxHost{version: "v2"}
	list := b.objects(t.Context(), []configv1beta1.PolicyRef{{Kind: "Bucket", Name: "good", Optional: true}})
	if list.Err == nil || !strings.Contains(list.Err.Error(), "Bucket civo/good of the host: the host cluster has no such kind") || reasonOf(list.Err) != configv1beta1.ReasonSourceMissing {
		t.Errorf("error %v", list.Err)
	}
}

func TestFluxCharts(t *testing.T) {
	chart := map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.2.3\n", "templates/a.yaml": namespaceManifest}
	files := map[string]string{"charts/packed.tgz": string(packed(t, map[string]string{"app/Chart.yaml": chart["Chart.yaml"]}))}
	for name, content := range chart {
		files["charts/app/"+name] = content
	}
	archive := packed(t, files)
	b := newFluxBuilder(t, "flux", map[string][]byte{"/charts": archive}, map[string]*unstructured.Unstructured{"GitRepository/flux/charts": fluxSourceOf("/charts", archive, nil)})
	entry := func(url, chart string) configv1beta1.HelmChart {
		return configv1beta1.HelmChart{RepositoryURL: url, ChartName: chart, ReleaseName: "r", ReleaseNamespace: "n"}
	}
	for url, tt := range map[string]struct{ chart, want string }{
		"gitrepository://flux/charts/charts/app":                    {"", "app"},
		"gitrepository://flux/charts/charts":                        {"repo/app", "repo/app"},
		"gitrepository://flux/charts/charts/{{ print `app` }}":      {"anything", "anything"},
		"GitRepository://flux/charts/charts/packed.tgz":             {"app", "app"},
		"gitrepository://flux/charts/charts/app/?/../../../missing": {"", ""},
	} {
		list := b.charts(t.Context(), []configv1beta1.HelmChart{entry(url, tt.chart)})
		if tt.want == "" {
			if list.Err == nil {
				t.Errorf("%s was accepted", url)
			}
			continue
		}
		if list.Err != nil {
			t.Errorf("%s: %v", url, list.Err)
			continue
		}
		got := list.Charts[0].Ref
		if got.ChartName != tt.want || got.Files == nil || got.Files.Content["Chart.yaml"] == nil && got.Files.Archive == nil {
			t.Errorf("%s: %+v", url, got)
		}
	}
	for url, want := range map[string]string{
		"gitrepository://flux/charts":             "holds no chart",
		"gitrepository://flux/charts/missing":     "has nothing at path",
		"gitrepository://flux/none/charts/app":    "GitRepository flux/none of the host: does not exist",
		"gitrepository://secret/charts/app":       "reads from its own namespace",
		"bucket://{{ .Cluster.metadata.name }}":   "has to be gitrepository://",
		"gitrepository://flux/charts/charts/none": "has nothing at path",
	} {
		list := b.charts(t.Context(), []configv1beta1.HelmChart{entry(url, "")})
		if list.Err == nil || !strings.Contains(list.Err.Error(), "helmCharts[0]: repositoryURL: ") || !strings.Contains(list.Err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, list.Err, want)
		}
	}
	// What the chart's files hold is known by the release, and what lies beside them not.
	mark := func(change string, content string) string {
		t.Helper()
		changed := maps.Clone(files)
		changed[change] = content
		archive := packed(t, changed)
		b := newFluxBuilder(t, "flux", map[string][]byte{"/charts": archive}, map[string]*unstructured.Unstructured{"GitRepository/flux/charts": fluxSourceOf("/charts", archive, nil)})
		list := b.charts(t.Context(), []configv1beta1.HelmChart{entry("gitrepository://flux/charts/charts/app", "")})
		if list.Err != nil || list.Charts[0].PostRender != nil {
			t.Fatalf("%+v", list)
		}
		return list.Charts[0].PostRenderHash
	}
	first := mark("README.md", "")
	if first == "" || len(first) > 63 || first != mark("README.md", "changed") || first == mark("charts/app/values.yaml", "a: b") {
		t.Errorf("a release is known by %q", first)
	}
	// What is uninstalled needs no source.
	gone := entry("gitrepository://flux/none", "")
	gone.HelmChartAction = configv1beta1.HelmChartActionUninstall
	if list := b.charts(t.Context(), []configv1beta1.HelmChart{gone}); list.Err != nil {
		t.Error(list.Err)
	}
}
