// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/kube"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/fleet"
)

func claim(phase string) string {
	return `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"h","namespace":"apps","resourceVersion":"1"},"status":{"phase":"` + phase + `"}}`
}

func changed(object string) string { return `{"type":"MODIFIED","object":` + object + `}` }

func statusAnswer(code int, reason string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"as the server says"}`, reason, code)
}

func TestWaitForReadiness(t *testing.T) {
	claims := resourceOf(schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, "persistentvolumeclaims", "h", nil)
	job := func(condition string) string {
		return `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"h","resourceVersion":"1"},"status":{"conditions":[{"type":"` + condition + `","status":"True","reason":"BackoffLimitExceeded"}]}}`
	}
	jobs := resourceOf(jobKind, "jobs", "h", nil)
	tests := map[string]struct {
		resources kube.ResourceList
		texts     []string
		withJobs  bool
		want      string // part of the error
		asked     int
	}{
		"nothing":               {},
		"a kind without status": {resources: kube.ResourceList{resourceOf(mapKind, "configmaps", "h", nil)}},
		"another group's kind":  {resources: kube.ResourceList{resourceOf(schema.GroupVersionKind{Group: "example.io", Version: "v1", Kind: "Deployment"}, "deployments", "h", nil)}},
		"ready":                 {resources: kube.ResourceList{claims}, texts: []string{claim("Bound"), claim("Bound")}, asked: 2},
		"becomes ready":         {resources: kube.ResourceList{claims}, texts: []string{claim("Pending"), claim("Pending"), changed(claim("Bound")), claim("Bound")}, asked: 4},
		"never is": {
			resources: kube.ResourceList{claims}, texts: []string{claim("Pending"), claim("Pending")},
			want: "waiting for PersistentVolumeClaim apps/h to be ready: not within 9s: PersistentVolumeClaim is not bound: apps/h", asked: 3,
		},
		"the server is busy": {
			resources: kube.ResourceList{claims}, texts: []string{statusAnswer(503, "ServiceUnavailable"), claim("Bound"), claim("Bound")}, asked: 3,
		},
		"may not look":            {resources: kube.ResourceList{claims}, texts: []string{statusAnswer(403, "Forbidden")}, want: "as the server says", asked: 1},
		"Jobs are not waited for": {resources: kube.ResourceList{jobs}},
		"a Job that completes":    {resources: kube.ResourceList{jobs}, withJobs: true, texts: []string{job("Suspended"), changed(job("Complete"))}, asked: 2},
		"a Job that fails":        {resources: kube.ResourceList{jobs}, withJobs: true, texts: []string{job("Failed")}, want: "Job apps/h to be ready: the Job failed: BackoffLimitExceeded", asked: 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, wire := newClient(t, t.Context(), tc.texts)
				for _, info := range tc.resources {
					info.Object.GetObjectKind().SetGroupVersionKind(info.Mapping.GroupVersionKind)
				}
				wait := c.Wait
				if tc.withJobs {
					wait = c.WaitWithJobs
				}
				err := wait(tc.resources, 9*time.Second)
				if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v", err)
				}
				if len(wire.urls) != tc.asked {
					t.Errorf("asked %d times: %v", len(wire.urls), wire.urls)
				}
			})
		})
	}
}

// What changes without the object itself is noticed after a while.
func TestReadinessIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		quiet := roundTripper(func(req *http.Request) (*http.Response, error) {
			header := http.Header{"Content-Type": {"application/json"}}
			if strings.Contains(req.URL.RawQuery, "watch") {
				reader, writer := io.Pipe()
				context.AfterFunc(req.Context(), func() { _ = writer.CloseWithError(req.Context().Err()) })
				return &http.Response{StatusCode: 200, Header: header, Body: reader}, nil
			}
			phase := "Pending"
			if asked++; asked > 2 {
				phase = "Bound"
			}
			return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(strings.NewReader(claim(phase)))}, nil
		})
		c := newClientOver(t, t.Context(), quiet)
		info := resourceOf(schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, "persistentvolumeclaims", "h", nil)
		info.Object.GetObjectKind().SetGroupVersionKind(info.Mapping.GroupVersionKind)
		begun := time.Now()
		if err := c.Wait(kube.ResourceList{info}, time.Hour); err != nil || time.Since(begun) != readyAgain {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

// A wait that lasts lets the cluster's other jobs go on, and ends with them all.
func TestWaitsStandAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		workers := fleet.NewWorkers(fleet.WorkersOptions{})
		ended := make(chan error, 1)
		go func() { ended <- workers.Run(ctx) }()
		cluster := fleet.Ref{Namespace: "civo", Name: "cluster1"}
		waited := make(chan error, 1)
		workers.Submit(cluster, "waits", func(ctx context.Context) {
			c, _ := newClient(t, ctx, []string{claim("Pending"), claim("Pending")})
			info := resourceOf(schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, "persistentvolumeclaims", "h", nil)
			info.Object.GetObjectKind().SetGroupVersionKind(info.Mapping.GroupVersionKind)
			waited <- c.Wait(kube.ResourceList{info}, time.Hour)
		})
		superseded := make(chan error, 1)
		workers.Submit(cluster, "changes", func(ctx context.Context) {
			c, _ := newClient(t, ctx, []string{claim("Pending"), claim("Pending")})
			info := resourceOf(schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, "persistentvolumeclaims", "h", nil)
			info.Object.GetObjectKind().SetGroupVersionKind(info.Mapping.GroupVersionKind)
			superseded <- c.Wait(kube.ResourceList{info}, time.Hour)
		})
		other := false
		workers.Submit(cluster, "other", func(context.Context) { other = true })
		synctest.Wait()
		if !other {
			t.Error("another job waits as well")
		}
		workers.Submit(cluster, "changes", func(context.Context) {})
		if err := <-superseded; !errors.Is(err, fleet.ErrSuperseded) {
			t.Errorf("what is out of date: %v", err)
		}
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestLastWordsOfAHook(t *testing.T) {
	pods := `{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"h-1","namespace":"apps"},"spec":{"containers":[{"name":"main"}]}}]}`
	failed := `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"h","resourceVersion":"1"},"status":{"conditions":[{"type":"Failed","status":"True","reason":"BackoffLimitExceeded"}]}}`
	synctest.Test(t, func(t *testing.T) {
		c, wire := newClient(t, t.Context(), []string{failed, pods, strings.Repeat("x", 2*wordsBytes) + "no such table"})
		err := c.WatchUntilReady(kube.ResourceList{resourceOf(jobKind, "jobs", "h", nil)}, time.Minute)
		if err == nil || !strings.Contains(err.Error(), "hook Job apps/h: the Job failed: BackoffLimitExceeded; the last lines of Pod h-1, container main: ") ||
			!strings.HasSuffix(err.Error(), "no such table") || len(err.Error()) > wordsBytes+200 {
			t.Errorf("error %v", err)
		}
		if want := "GET /api/v1/namespaces/apps/pods/h-1/log"; len(wire.urls) != 3 || wire.urls[2] != want {
			t.Errorf("asked %v", wire.urls)
		}
	})
	// Where nobody answers, the error is said all the same.
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, t.Context(), []string{failed})
		err := c.WatchUntilReady(kube.ResourceList{resourceOf(jobKind, "jobs", "h", nil)}, time.Minute)
		if err == nil || !strings.HasSuffix(err.Error(), "BackoffLimitExceeded") {
			t.Errorf("error %v", err)
		}
	})
}

// A CRD that is there, and that is not established, is no reason to go on.
func TestCRDsThatAreThereHaveToBeEstablished(t *testing.T) {
	crd := func(condition string) string {
		return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.io","resourceVersion":"1"},"status":{"conditions":[` + condition + `]}}`
	}
	manifest := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.io}\nspec: {group: example.io, names: {kind: ConfigMap}}\n"
	for name, tc := range map[string]struct{ condition, want string }{
		"names are taken": {`{"type":"NamesAccepted","status":"False","message":"taken by gadgets"}`, "CustomResourceDefinition widgets.example.io: it is not established: its names are not accepted: taken by gadgets"},
		"never":           {``, "CustomResourceDefinition widgets.example.io: not within 1m0s: it is not established"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newClient(t, t.Context(), []string{statusAnswer(409, "AlreadyExists"), crd(tc.condition)})
				resources, err := c.Build(strings.NewReader(manifest), false)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Create(resources); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestUpgradeCRDsDeletesNone(t *testing.T) {
	c, server := newObjectClient(t)
	crds := map[string]*unstructured.Unstructured{}
	for _, name := range []string{"widgets.example.io", "gadgets.example.io"} {
		crd := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
			"spec":   map[string]any{"group": "example.io", "scope": "Namespaced", "names": map[string]any{"kind": "Widget"}},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}},
		}}
		crds[name] = crd
		server.objects["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+name] = crd
	}
	manifest := func(name, scope string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " + name + "}\nspec: {group: example.io, scope: " + scope + ", names: {kind: Widget}}\n"
	}
	former := []string{manifest("widgets.example.io", "Namespaced"), manifest("gadgets.example.io", "Namespaced")}
	if err := c.upgradeCRDs(former, []string{manifest("widgets.example.io", "Cluster")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if scope, _, _ := unstructured.NestedString(crds["widgets.example.io"].Object, "spec", "scope"); scope != "Cluster" {
		t.Errorf("the scope is %q", scope)
	}
	if len(server.deleted) > 0 {
		t.Errorf("deleted %v", server.deleted)
	}
}

// Objects may be taken over from anybody but a profile.
func TestTakingOver(t *testing.T) {
	ownerOf := func(found metav1.Object) string { return found.GetAnnotations()["owner"] }
	object := func(owner string) *unstructured.Unstructured {
		found := owned("v1", "ConfigMap", "settings", "another")
		found.SetAnnotations(map[string]string{"owner": owner})
		return found
	}
	for name, tc := range map[string]struct {
		found   *unstructured.Unstructured
		ownerOf func(metav1.Object) string
		want    string
	}{
		"nobody's":       {object(""), ownerOf, ""},
		"a profile's":    {object("ClusterProfile base"), ownerOf, "ConfigMap apps/settings is deployed by ClusterProfile base"},
		"not asked for":  {object("ClusterProfile base"), nil, ""},
		"there is none":  {nil, ownerOf, ""},
		"its own object": {owned("v1", "ConfigMap", "settings", "web"), func(metav1.Object) string { return "ClusterProfile base" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, server := newObjectClient(t)
			c.ownerOf = tc.ownerOf
			if tc.found != nil {
				server.put("/api/v1", "configmaps", tc.found)
			}
			err := c.mayTake(manifestOf("settings"))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An uninstallation deletes nothing that another release has taken over.
func TestUninstallLeavesWhatOthersHaveTaken(t *testing.T) {
	c, server := newObjectClient(t)
	server.lax = true // Helm sets no preconditions
	unmarked := owned("v1", "ConfigMap", "unmarked", "web")
	unmarked.SetAnnotations(nil)
	for _, object := range []*unstructured.Unstructured{owned("v1", "ConfigMap", "mine", "web"), owned("v1", "ConfigMap", "theirs", "another"), unmarked} {
		server.put("/api/v1", "configmaps", object)
	}
	list, err := c.Build(strings.NewReader(manifestOf("mine", "theirs", "unmarked", "gone")), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, errs := c.DeleteWithPropagationPolicy(list, metav1.DeletePropagationBackground); len(errs) > 0 {
		t.Error(errs)
	}
	slices.Sort(server.deleted)
	if diff := cmp.Diff([]string{"mine", "unmarked"}, server.deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	if list, err = c.Build(strings.NewReader(manifestOf("theirs")), false); err != nil {
		t.Fatal(err)
	}
	if _, errs := c.DeleteWithPropagationPolicy(list, metav1.DeletePropagationBackground); len(errs) > 0 {
		t.Errorf("nothing to delete: %v", errs)
	}
}

func TestObjectsOfUnknownKindsAreNotBuilt(t *testing.T) {
	manifest := "# Source: nginx/templates/0.yaml\napiVersion: gone.io/v1\nkind: Thing\nmetadata: {name: x}\n"
	c, _ := newClient(t, t.Context(), nil)
	// What is to be applied has to be of a kind that exists, validated or not.
	if got, err := c.Build(strings.NewReader(manifest), true); err == nil {
		t.Errorf("built %d objects of a kind that does not exist", len(got))
	}
	if got, err := c.Build(strings.NewReader(manifestOf("a")), true); err != nil || len(got) != 1 {
		t.Errorf("built %d objects, %v", len(got), err)
	}
}
