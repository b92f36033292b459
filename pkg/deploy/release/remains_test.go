// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// objectServer holds objects by their paths, gets, patches and deletes them.
type objectServer struct {
	t       *testing.T
	objects map[string]*unstructured.Unstructured
	deleted []string
	// lax takes deletions of whatever is there, and several at the same time.
	lax bool
	mu  sync.Mutex
}

// put adds an object to namespace apps, of a kind whose plural is that.
func (s *objectServer) put(prefix, plural string, object *unstructured.Unstructured) {
	object.SetNamespace("apps")
	object.SetUID(types.UID("uid-of-" + object.GetName()))
	object.SetResourceVersion("7")
	s.objects[prefix+"/namespaces/apps/"+plural+"/"+object.GetName()] = object
}

func (s *objectServer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.objects[req.URL.Path]
	if !ok {
		return answer(http.StatusNotFound, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404})
	}
	switch req.Method {
	case http.MethodGet:
	case http.MethodDelete:
		var options metav1.DeleteOptions
		s.read(req, &options)
		if p := options.Preconditions; !s.lax && (p == nil || p.UID == nil || *p.UID != found.GetUID() || p.ResourceVersion == nil || *p.ResourceVersion != "7") {
			s.t.Errorf("%s is deleted whatever it is now: %v", req.URL.Path, p)
		}
		delete(s.objects, req.URL.Path)
		s.deleted = append(s.deleted, found.GetName())
	case http.MethodPatch:
		patch := map[string]any{}
		s.read(req, &patch)
		merge(found.Object, patch)
	default:
		s.t.Errorf("%s %s", req.Method, req.URL.Path)
	}
	return answer(http.StatusOK, found)
}

func (s *objectServer) read(req *http.Request, into any) {
	if err := json.NewDecoder(req.Body).Decode(into); err != nil {
		s.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
	}
}

// merge is RFC 7396.
func merge(into, patch map[string]any) {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		switch existing, ok := into[key].(map[string]any); {
		case value == nil:
			delete(into, key)
		case isMap && ok:
			merge(existing, inner)
		default:
			into[key] = value
		}
	}
}

func answer(code int, object any) (*http.Response, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(data))}, nil
}

// newObjectClient is newClient with objects to work on. It knows Widgets.
func newObjectClient(t *testing.T) (*client, *objectServer) {
	t.Helper()
	server := &objectServer{t: t, objects: map[string]*unstructured.Unstructured{}}
	c := newClientOver(t, t.Context(), server)
	c.mapper.ResettableRESTMapper.(*fixedMapper).Add(schema.GroupVersionKind{Group: "example.io", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
	return c, server
}

// owned is an object as Helm marks it.
func owned(apiVersion, kind, name, release string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	object.SetName(name)
	object.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "Helm"})
	object.SetAnnotations(map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "apps"})
	return object
}

func TestSweepDeletesOnlyTheReleasesOwn(t *testing.T) {
	c, server := newObjectClient(t)
	kept := owned("v1", "ConfigMap", "policy", "web")
	kept.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "apps", "helm.sh/resource-policy": "keep"})
	foreign := owned("v1", "ConfigMap", "foreign", "web")
	foreign.SetLabels(nil)
	for _, object := range []*unstructured.Unstructured{
		owned("v1", "ConfigMap", "wanted", "web"), owned("v1", "ConfigMap", "left", "web"), owned("v1", "ConfigMap", "others", "another"), kept, foreign,
	} {
		server.put("/api/v1", "configmaps", object)
	}
	web := &helmrelease.Release{Name: "web", Namespace: "apps"}
	former := manifestOf("wanted", "left", "others", "policy", "foreign", "gone")
	if err := c.sweep(web, []string{former, former}, manifestOf("wanted")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"left"}, server.deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

func TestClearDeletesWhatTheHookHasMade(t *testing.T) {
	c, server := newObjectClient(t)
	started := time.Now().Add(-time.Hour)
	for name, made := range map[string]time.Time{"mine": started.Add(time.Second), "before": started.Add(-time.Hour)} {
		job := owned("batch/v1", "Job", name, "")
		job.SetCreationTimestamp(metav1.NewTime(made))
		server.put("/apis/batch/v1", "jobs", job)
	}
	var manifest strings.Builder
	for _, name := range []string{"mine", "before", "gone"} {
		fmt.Fprintf(&manifest, "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: %s}\n", name)
	}
	hook := &helmrelease.Hook{Manifest: manifest.String(), LastRun: helmrelease.HookExecution{StartedAt: helmtime.Time{Time: started}}}
	if err := c.clear(hook, time.Minute); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mine"}, server.deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

// A custom resource that an attempt has changed goes back to what the release
// says, also where that is what it said before the attempt.
func TestUpdateTakesBackWhatAnAttemptHasSet(t *testing.T) {
	manifest := func(spec string) string {
		return "---\napiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w}\nspec: {" + spec + "}\n"
	}
	for name, former := range map[string][]string{"Helm alone": nil, "considered": {manifest("color: red, red: true")}} {
		t.Run(name, func(t *testing.T) {
			c, server := newObjectClient(t)
			widget := owned("example.io/v1", "Widget", "w", "web")
			widget.Object["spec"] = map[string]any{"color": "red", "red": true, "others": "own"}
			server.put("/apis/example.io/v1", "widgets", widget)
			c.consider(former)
			var lists []kube.ResourceList
			for range 2 {
				list, err := c.Build(strings.NewReader(manifest("color: grey")), false)
				if err != nil {
					t.Fatal(err)
				}
				lists = append(lists, list)
			}
			if _, err := c.Update(lists[0], lists[1], false); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"color": "grey", "others": "own"}
			if got := widget.Object["spec"]; (former != nil) != cmp.Equal(want, got) {
				t.Errorf("it is %v", got)
			}
			if slices.Contains(server.deleted, "w") {
				t.Error("it was deleted")
			}
		})
	}
}
