// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/remote"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]Reference{
		"gitrepository://ns/name":         {Kind: GitRepository, Namespace: "ns", Name: "name"},
		"GitRepository://ns/name/":        {Kind: GitRepository, Namespace: "ns", Name: "name"},
		"ocirepository://ns/name/a/b":     {Kind: OCIRepository, Namespace: "ns", Name: "name", Path: "a/b"},
		"bucket://ns/name/charts/app.tgz": {Kind: Bucket, Namespace: "ns", Name: "name", Path: "charts/app.tgz"},
	} {
		if got, err := ParseURL(raw); err != nil || got != want || !IsURL(raw) {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
	for _, bad := range []string{"gitrepository://", "gitrepository://ns", "gitrepository://ns/", "gitrepository:///name", "helmrepository://ns/name", "gitrepository://u:p@ns/name"} {
		if got, err := ParseURL(bad); err == nil {
			t.Errorf("%s is %+v", bad, got)
		}
	}
	for _, other := range []string{"https://a", "oci://a", "gitrepository", ""} {
		if IsURL(other) {
			t.Errorf("%s is a source of Flux", other)
		}
	}
}

func TestArtifactOf(t *testing.T) {
	good := map[string]any{"url": "http://source-controller/a.tar.gz", "digest": "sha256:1", "revision": "main@sha1:2"}
	failing := []any{map[string]any{"type": "Ready", "status": "False", "reason": "GitOperationFailed", "message": "no route to host"}}
	for name, tt := range map[string]struct {
		status map[string]any
		want   Artifact
		says   string
	}{
		"an artifact":                 {status: map[string]any{"artifact": good}, want: Artifact{"http://source-controller/a.tar.gz", "sha256:1", "main@sha1:2"}},
		"the last one counts":         {status: map[string]any{"artifact": good, "conditions": failing}, want: Artifact{"http://source-controller/a.tar.gz", "sha256:1", "main@sha1:2"}},
		"as v1beta2 had it":           {status: map[string]any{"artifact": map[string]any{"url": "u", "checksum": "ab"}}, want: Artifact{URL: "u", Digest: "sha256:ab"}},
		"none":                        {status: nil, says: "has not fetched it"},
		"none, and why":               {status: map[string]any{"conditions": failing}, says: "GitOperationFailed: no route to host"},
		"none that could be verified": {status: map[string]any{"artifact": map[string]any{"url": "u"}}, says: "no artifact"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ArtifactOf(&unstructured.Unstructured{Object: map[string]any{"status": tt.status}})
			var notReady *NotReadyError
			if got != tt.want || (tt.says == "") != (err == nil) || err != nil && (!errors.As(err, &notReady) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	long := []any{map[string]any{"type": "Ready", "status": "Unknown", "reason": "x", "message": strings.Repeat("y", 9999)}}
	if _, err := ArtifactOf(&unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": long}}}); len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestAt(t *testing.T) {
	files := map[string][]byte{"a.yaml": nil, "deploy/b.yaml": nil, "deploy/prod/c.yaml": nil, "deployed/d.yaml": nil}
	for at, want := range map[string][]string{
		"": {"a.yaml", "deploy/b.yaml", "deploy/prod/c.yaml", "deployed/d.yaml"}, "./": {"a.yaml", "deploy/b.yaml", "deploy/prod/c.yaml", "deployed/d.yaml"},
		"deploy": {"b.yaml", "prod/c.yaml"}, "./deploy/": {"b.yaml", "prod/c.yaml"}, "/deploy/prod": {"c.yaml"}, "deploy/b.yaml": {"b.yaml"},
		"missing": nil, "dep": nil, "../deploy": nil, "deploy/../../x": nil, "deploy/..": nil,
	} {
		got, err := At(files, at)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" || (err != nil) != (want == nil) {
			t.Errorf("%q (-want +got), %v:\n%s", at, err, diff)
		}
	}
}

// tarball packs one file under a name.
func tarball(t *testing.T, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestStore(t *testing.T) {
	const controller = "http://source-controller.flux-system.svc.cluster.local."
	asked := atomic.Int32{}
	bodies := map[string][]byte{"/good": tarball(t, "a.yaml", "a: b"), "/escape": tarball(t, "../a.yaml", "a: b"), "/none": []byte("text")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, found := bodies[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	store := NewStore(remote.NewFetcher(remote.Options{Mirror: func(raw string) string { return strings.Replace(raw, controller, server.URL, 1) }}))
	digestOf := func(path string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(bodies[path])) }
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			files, err := store.Files(t.Context(), Artifact{URL: controller + "/good", Digest: digestOf("/good"), Revision: fmt.Sprint(i)})
			if err != nil || string(files["a.yaml"]) != "a: b" {
				t.Errorf("%v, %v", files, err)
			}
		})
	}
	all.Wait()
	if asked.Load() != 1 {
		t.Errorf("fetched %d times", asked.Load())
	}
	var fetched *remote.Error
	_, err := store.Files(t.Context(), Artifact{URL: controller + "/good", Digest: digestOf("/none")})
	if !errors.As(err, &fetched) || fetched.Reason != remote.Invalid {
		t.Errorf("a wrong digest: %v", err)
	}
	_, err = store.Files(t.Context(), Artifact{URL: controller + "/missing", Digest: digestOf("/good")})
	if !errors.As(err, &fetched) || fetched.Reason != remote.NotFound {
		t.Errorf("an artifact that is gone: %v", err)
	}
	for _, path := range []string{"/escape", "/none"} {
		var broken *archive.Error
		if _, err := store.Files(t.Context(), Artifact{URL: controller + path, Digest: digestOf(path)}); !errors.As(err, &broken) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
