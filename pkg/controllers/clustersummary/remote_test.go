// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/remote"
)

const sourcesURL = "https://sources.test"

// newRemoteBuilder is a builder whose URLs are served by files.
func newRemoteBuilder(t *testing.T, tenant string, host hostObjects, files map[string][]byte) *requestBuilder {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, found := files[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	b, _ := newBuilder(t, tenant, host)
	b.fetcher = remote.NewFetcher(remote.Options{
		Mirror: func(raw string) string { return strings.Replace(raw, sourcesURL, server.URL, 1) },
		Now:    func() time.Time { return noon },
	})
	return b
}

func remoteRef(path string) configv1beta1.PolicyRef {
	return configv1beta1.PolicyRef{Tier: 100, RemoteURL: &configv1beta1.RemoteURL{URL: sourcesURL + path}}
}

func TestRemoteManifests(t *testing.T) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write([]byte(namespaceManifest)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := newRemoteBuilder(t, "", nil, map[string][]byte{
		"/plain.yaml": []byte(namespaceManifest), "/plain.yaml.gz": compressed.Bytes(),
		"/template.yaml": []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: '{{ .Cluster.metadata.name }}'}\n"),
		"/archive": packed(t, map[string]string{
			"README.md": "no: [manifest", "a/1.yaml": namespaceManifest, "a/2.json": `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"second"}}`,
		}),
	})
	template := remoteRef("/template.yaml")
	template.RemoteURL.Template, template.RemoteURL.Interval = true, &metav1.Duration{Duration: time.Minute}
	missing := remoteRef("/missing")
	missing.Optional = true
	refs := []configv1beta1.PolicyRef{remoteRef("/plain.yaml?sig=x"), template, missing}
	list := b.objects(t.Context(), refs)
	if list.Err != nil || len(list.Objects) != 2 || list.Objects[1].Content.GetName() != "cluster1" {
		t.Fatalf("%+v", list)
	}
	if want := (inventory.Source{Kind: "URL", Name: sourcesURL + "/plain.yaml", Tier: 100}); list.Objects[0].Source != want {
		t.Errorf("from %+v", list.Objects[0].Source)
	}
	if !b.due.Equal(noon.Add(time.Minute)) {
		t.Errorf("due at %s", b.due)
	}
	for path, objects := range map[string]int{"/plain.yaml.gz": 1, "/archive": 2} {
		if list := b.objects(t.Context(), []configv1beta1.PolicyRef{remoteRef(path)}); list.Err != nil || len(list.Objects) != objects {
			t.Errorf("%s: %d objects, %v", path, len(list.Objects), list.Err)
		}
	}
}

func TestRemoteKustomization(t *testing.T) {
	b := newRemoteBuilder(t, "", nil, map[string][]byte{
		"/k.tar.gz": packed(t, map[string]string{"prod/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: prod-\n", "prod/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n"}),
		"/text":     []byte(namespaceManifest),
	})
	ref := func(path string) configv1beta1.KustomizationRef {
		return configv1beta1.KustomizationRef{Path: "prod", RemoteURL: &configv1beta1.KustomizationRemoteURL{URL: sourcesURL + path}}
	}
	list := b.kustomized(t.Context(), []configv1beta1.KustomizationRef{ref("/k.tar.gz"), ref("/text")})
	if len(list.Objects) != 1 || list.Objects[0].Content.GetName() != "prod-made" || list.Feature != deploy.Kustomize {
		t.Errorf("%+v", list.Objects)
	}
	if list.Err == nil || !strings.Contains(list.Err.Error(), "kustomizationRefs[1]: URL "+sourcesURL+"/text") || !strings.Contains(list.Err.Error(), "not a tar archive") {
		t.Errorf("error %v", list.Err)
	}
}

func TestBadRemoteSources(t *testing.T) {
	const secret = "hunter2-hunter2"
	typeless := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "typeless"}, Data: map[string][]byte{"token": []byte(secret)}}
	typed := typeless.DeepCopy()
	typed.Name, typed.Type = "typed", render.SecretType
	host := hostObjects{"Secret/civo/typeless": typeless, "Secret/civo/typed": typed}
	files := map[string][]byte{
		"/escape": packed(t, map[string]string{"../a.yaml": namespaceManifest}), "/text": []byte("a: b: " + secret), "/empty": packed(t, map[string]string{"README": ""}),
	}
	for name, tt := range map[string]struct {
		path, secret, namespace string
		want, reason            string
	}{
		"missing":               {path: "/missing", want: "policyRefs[0]: fetching " + sourcesURL + "/missing: the server answers 404", reason: configv1beta1.ReasonSourceMissing},
		"traversal":             {path: "/escape", want: "leads out of the archive", reason: configv1beta1.ReasonSourceInvalid},
		"no YAML":               {path: "/text", secret: "typed", want: "not valid YAML", reason: configv1beta1.ReasonSourceInvalid},
		"nothing":               {path: "/empty", want: "holds no objects", reason: configv1beta1.ReasonSourceInvalid},
		"no such Secret":        {path: "/text", secret: "gone", want: "Secret civo/gone of the host: does not exist", reason: configv1beta1.ReasonSourceMissing},
		"Secret of another use": {path: "/text", secret: "typeless", want: "wrong Secret type", reason: configv1beta1.ReasonSourceInvalid},
		"Secret of another":     {path: "/text", secret: "a", namespace: "other", want: "reads from its own namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRemoteBuilder(t, "civo", host, files)
			ref := remoteRef(tt.path)
			if tt.secret != "" {
				ref.RemoteURL.SecretRef = &libv1beta1.SecretReference{Namespace: tt.namespace, Name: tt.secret}
			}
			list := b.objects(t.Context(), []configv1beta1.PolicyRef{ref})
			if len(list.Objects) > 0 || list.Err == nil || !strings.Contains(list.Err.Error(), tt.want) || strings.Contains(list.Err.Error(), secret) {
				t.Errorf("%d objects, error %v; want %q", len(list.Objects), list.Err, tt.want)
			}
			if tt.reason != "" && reasonOf(list.Err) != tt.reason {
				t.Errorf("reason %s, want %s", reasonOf(list.Err), tt.reason)
			}
		})
	}
}
