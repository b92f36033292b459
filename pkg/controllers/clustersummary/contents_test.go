// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/storage/records/recordstest"
)

// kept is a history, into which jobs write what they have read.
type kept struct {
	*Reconciler
	t *testing.T
}

func newKept(t *testing.T) *kept {
	return &kept{t: t, Reconciler: New(Options{History: history.NewStore(recordstest.New(), 10), Now: time.Now})}
}

// job has a builder read as a job of a revision does, and writes down what it has read.
func (k *kept) job(b *requestBuilder, pinned *revision.Contents, read func()) {
	k.t.Helper()
	rev := revision.Revision{Name: "plain", Spec: &configv1beta1.ProfileSpec{}, Pinned: pinned}
	if pinned != nil {
		rev.Name = "pinned"
	}
	b.observed = k.observe(rev)
	read()
	k.record(k.t.Context(), clusterref.Of("civo", "cluster1"), inventory.Owner{Kind: "ClusterProfile", Name: "web"}, rev, b.observed, deploy.Result{})
}

// pins are the contents of the last entry, and their names.
func (k *kept) pins() (*revision.Contents, []string) {
	k.t.Helper()
	p, err := k.History.Profile(k.t.Context(), revision.Owner{Kind: "ClusterProfile", Name: "web"})
	if err != nil {
		k.t.Fatal(err)
	}
	last := p.Entries[len(p.Entries)-1]
	out := &revision.Contents{Of: last.Number, Salt: p.Salt}
	var names []string
	for _, s := range last.Sources {
		out.Pins = append(out.Pins, revision.Pin{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Digest: s.Digest})
		names = append(names, s.Key().String())
	}
	return out, names
}

// What a source of Flux held is deployed again, though it holds something else or is gone.
func TestARollbackHasFormerArtifacts(t *testing.T) {
	tree := func(value string) map[string]string {
		return map[string]string{
			"deploy/a.yaml":         strings.Replace(namespaceManifest, "made", value, 1),
			"charts/web/Chart.yaml": "name: web\nversion: 1.0.0\ndescription: " + value + "\n",
			"k/kustomization.yaml":  "resources: [a.yaml]\n", "k/a.yaml": strings.Replace(namespaceManifest, "made", value, 1),
		}
	}
	first, second := packed(t, tree("first")), packed(t, tree("second"))
	objects := map[string]*unstructured.Unstructured{}
	b := newFluxBuilder(t, "", map[string][]byte{"/1": first, "/2": second}, objects)
	annotated := map[string]string{render.AnnotationTemplate: ""}
	deployed := func(kustomize bool) string {
		t.Helper()
		list := b.objects(t.Context(), []configv1beta1.PolicyRef{{Kind: "GitRepository", Namespace: "flux", Name: "apps", Path: "./deploy"}})
		if kustomize {
			more := b.kustomized(t.Context(), []configv1beta1.KustomizationRef{{Kind: "GitRepository", Namespace: "flux", Name: "apps", Path: "k"}})
			list.Objects, list.Err = append(list.Objects, more.Objects...), more.Err
		}
		chart := deploy.Chart{}
		chart.Ref.RepositoryURL, chart.Ref.ChartName = "gitrepository://flux/apps/charts", "web"
		err := b.fluxChart(t.Context(), &chart)
		if list.Err != nil || err != nil {
			return strings.Join([]string{errorText(list.Err), errorText(err)}, " ")
		}
		var out []string
		for _, o := range list.Objects {
			out = append(out, o.Content.GetName())
		}
		_, description, _ := strings.Cut(string(chart.Ref.Files.Content[chartFile]), "description: ")
		return strings.Join(append(out, strings.TrimSpace(description)), " ")
	}
	k := newKept(t)
	objects["GitRepository/flux/apps"] = fluxSourceOf("/1", first, annotated)
	k.job(b, nil, func() {
		if got := deployed(true); got != "first first first" {
			t.Errorf("deployed %q", got)
		}
	})
	pins, names := k.pins()
	if want := []string{"GitRepository flux/apps", "GitRepository flux/apps/charts/web", "GitRepository flux/apps/deploy"}; !slices.Equal(names, want) {
		t.Fatalf("pinned are %q, want %q", names, want)
	}
	objects["GitRepository/flux/apps"] = fluxSourceOf("/2", second, nil)
	k.job(b, nil, func() {
		if got := deployed(true); got != "second second second" {
			t.Errorf("deployed %q", got)
		}
	})
	for what, change := range map[string]func(){"it has changed": func() {}, "it is gone": func() { clear(objects) }} {
		change()
		k.job(b, pins, func() {
			if got := deployed(true); got != "first first first" {
				t.Errorf("%s: rolled back to %q", what, got)
			}
		})
	}
	lost := &revision.Contents{Of: 7, Pins: []revision.Pin{{Kind: "GitRepository", Namespace: "flux", Name: "apps/deploy", Digest: "none"}}}
	k.job(b, lost, func() {
		if got := deployed(false); !strings.Contains(got, "GitRepository flux/apps/deploy of the host: is not kept any more since revision 7") {
			t.Errorf("what is not kept: %q", got)
		}
	})
	b.asTenant = true
	b.host = forbidding{allowed: "nothing"}
	k.job(b, pins, func() {
		if got := deployed(false); !strings.Contains(got, "as the profile's tenant") {
			t.Errorf("a tenant is given what it may not read: %q", got)
		}
	})
}

// A commit beside what is deployed from makes no new revision.
func TestACommitElsewhereIsNoNews(t *testing.T) {
	const manifest = "deploy/a.yaml"
	before := packed(t, map[string]string{manifest: namespaceManifest})
	after := packed(t, map[string]string{manifest: namespaceManifest, "README.md": "text"})
	objects := map[string]*unstructured.Unstructured{"GitRepository/flux/apps": fluxSourceOf("/1", before, nil)}
	b := newFluxBuilder(t, "", map[string][]byte{"/1": before, "/2": after}, objects)
	k := newKept(t)
	refs := []configv1beta1.PolicyRef{{Kind: "GitRepository", Namespace: "flux", Name: "apps", Path: "deploy"}}
	for _, now := range []*unstructured.Unstructured{objects["GitRepository/flux/apps"], fluxSourceOf("/2", after, nil)} {
		objects["GitRepository/flux/apps"] = now
		k.job(b, nil, func() {
			if list := b.objects(t.Context(), refs); list.Err != nil {
				t.Error(list.Err)
			}
		})
	}
	if pins, _ := k.pins(); pins.Of != 1 {
		t.Errorf("it is revision %d", pins.Of)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Templates see again what they saw, and no object that was not there.
func TestARollbackHasFormerResources(t *testing.T) {
	host := hostOf()
	host.objects["Widget/civo/mine"]["metadata"] = map[string]any{"resourceVersion": "7"}
	refs := []configv1beta1.TemplateResourceRef{resource("a", "Widget", "mine"), resource("b", "Widget", "gone"), resource("c", "Secret", "keys")}
	refs[1].Optional = true
	k := newKept(t)
	size := func(pinned *revision.Contents) (got string, err error) {
		b, _ := newBuilder(t, "", nil)
		b.hostObjects = host
		k.job(b, pinned, func() {
			if err = b.resources(t.Context(), refs); err == nil {
				got, err = b.renderer.String(t.Context(), "x", "{{ .MgmtResources.a.spec.size }}{{ if .MgmtResources.b }} and b{{ end }}", b.data)
			}
		})
		return got, err
	}
	if got, err := size(nil); err != nil || got != "3" {
		t.Fatalf("templates see %q, %v", got, err)
	}
	pins, names := k.pins()
	if want := []string{"Secret civo/keys", "v1/Widget civo/gone", "v1/Widget civo/mine"}; !slices.Equal(names, want) {
		t.Fatalf("pinned are %q, want %q", names, want)
	}
	before := maps.Clone(host.objects)
	host.objects["Widget/civo/mine"] = map[string]any{"kind": "Widget", "spec": map[string]any{"size": int64(4)}}
	host.objects["Widget/civo/gone"] = host.objects["Widget/civo/mine"]
	if got, err := size(nil); err != nil || got != "4 and b" {
		t.Errorf("templates see %q, %v", got, err)
	}
	if got, err := size(pins); err != nil || got != "3" {
		t.Errorf("rolled back templates see %q, %v", got, err)
	}
	if n := len(host.wants); n != 1 || host.wants[0].Name != "keys" {
		t.Errorf("what is pinned is read all the same: %v", host.wants)
	}
	host.objects["Secret/civo/keys"] = map[string]any{"kind": "Secret", "type": render.SecretType, "data": map[string]any{"password": "b3RoZXI="}}
	if _, err := size(pins); err == nil || !strings.Contains(err.Error(), "Secret civo/keys of the host: has changed since revision 1") {
		t.Errorf("with another Secret: %v", err)
	}
	host.objects["Secret/civo/keys"] = before["Secret/civo/keys"]
	pins.Pins[2].Digest = "none"
	if _, err := size(pins); err == nil || !strings.Contains(err.Error(), "v1/Widget civo/mine of the host: is not kept any more") {
		t.Errorf("what is not kept: %v", err)
	}
}

// A Secret for templates is compared as one that is deployed from is, which histories do too.
func TestASecretForTemplatesIsOneLikeTheOthers(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Secret", "type": "Opaque", "data": map[string]any{"a": "MQ=="},
		"metadata": map[string]any{"resourceVersion": "1", "annotations": map[string]any{render.AnnotationTemplate: "", "other": "x"}},
	}}
	got, err := contentOfObject("Secret", object)
	want := contentOf(render.Source{Type: "Opaque", Annotations: map[string]string{render.AnnotationTemplate: ""}, Data: map[string][]byte{"a": []byte("1")}})
	p := &history.Profile{Salt: []byte("salt")}
	if err != nil || p.SecretHash(got) != p.SecretHash(want) {
		t.Errorf("%+v, want %+v, %v", got, want, err)
	}
	widget := schema.GroupVersionKind{Version: "v1", Kind: "Widget"}
	if answer := restoredObject(hostobjects.Want{Kind: widget, Name: "w"}, history.Content{}, nil); answer.Object != nil || !answer.Err.(*hostobjects.Error).Missing() {
		t.Errorf("what did not exist is %+v", answer)
	}
	broken := history.Content{Blobs: []history.Blob{{Name: objectBlob, Data: []byte("{")}}}
	if answer := restoredObject(hostobjects.Want{Kind: widget, Name: "w"}, broken, nil); answer.Err == nil || apierrors.IsNotFound(answer.Err) {
		t.Errorf("what is damaged is %+v", answer)
	}
}
