// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery/cached/memory"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

// fixedMapper knows ConfigMaps, Pods, Jobs and CRDs.
type fixedMapper struct {
	*meta.DefaultRESTMapper
	resets  int
	onReset func(resets int)
}

func (m *fixedMapper) Reset() {
	m.resets++
	if m.onReset != nil {
		m.onReset(m.resets)
	}
}

func newFixedMapper() *fixedMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{
		{Version: "v1"}, {Group: "batch", Version: "v1"}, {Group: "apiextensions.k8s.io", Version: "v1"}, {Group: "example.io", Version: "v1"},
	})
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}, meta.RESTScopeRoot)
	return &fixedMapper{DefaultRESTMapper: m}
}

// replies answers each request with the next of its texts.
type replies struct {
	texts []string
	urls  []string
}

func (r *replies) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	r.urls = append(r.urls, req.Method+" "+req.URL.Path)
	if len(r.texts) == 0 {
		reader, writer := io.Pipe() // a watch that says nothing
		context.AfterFunc(req.Context(), func() { _ = writer.CloseWithError(req.Context().Err()) })
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: reader}, nil
	}
	text := r.texts[0]
	r.texts = r.texts[1:]
	code := 200
	if strings.Contains(text, `"kind":"Status"`) {
		var status metav1.Status
		if err := json.Unmarshal([]byte(text), &status); err != nil {
			return nil, err
		}
		code = int(status.Code)
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text))}, nil
}

func newClient(t testing.TB, ctx context.Context, texts []string, served ...*metav1.APIResourceList) (*client, *replies) {
	t.Helper()
	wire := &replies{texts: texts}
	return newClientOver(t, ctx, wire, served...), wire
}

// newClientOver is newClient with another wire.
func newClientOver(t testing.TB, ctx context.Context, wire http.RoundTripper, served ...*metav1.APIResourceList) *client {
	t.Helper()
	discovery := memory.NewMemCacheClient(&fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{Resources: append(served, &metav1.APIResourceList{GroupVersion: "v1"})}})
	cluster := Cluster{Config: &rest.Config{Host: "https://cluster.invalid", Transport: wire, QPS: -1}, Discovery: discovery, Mapper: newFixedMapper()}
	getter, err := newGetter(ctx, cluster, "apps")
	if err != nil {
		t.Fatal(err)
	}
	helmClient := kube.New(getter)
	helmClient.Namespace = "apps"
	return &client{
		Client: helmClient, ctx: ctx, dynamic: dynamic.NewForConfigOrDie(getter.config), clientset: kubernetes.NewForConfigOrDie(getter.config),
		discovery: discovery, mapper: freshMapper{cluster.Mapper}, validates: func() bool { return false }, release: &helmrelease.Release{Name: "web", Namespace: "apps"},
	}
}

// resourceOf describes an object as Helm's builder does.
func resourceOf(kind schema.GroupVersionKind, plural, name string, object map[string]any) *resource.Info {
	scope := meta.RESTScopeNamespace
	if kind.Kind == "CustomResourceDefinition" {
		scope = meta.RESTScopeRoot
	}
	if object == nil {
		object = map[string]any{}
	}
	return &resource.Info{
		Name: name, Namespace: "apps", Object: &unstructured.Unstructured{Object: object},
		Mapping: &meta.RESTMapping{Resource: kind.GroupVersion().WithResource(plural), GroupVersionKind: kind, Scope: scope},
	}
}

var (
	jobKind = schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
	podKind = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	mapKind = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
)

func TestWatchUntilReady(t *testing.T) {
	job := func(condition string) string {
		return `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"h","resourceVersion":"1"},"status":{"conditions":[{"type":"` + condition + `","status":"True","reason":"BackoffLimitExceeded"}]}}`
	}
	pod := func(phase string) string {
		return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"h","resourceVersion":"1"},"status":{"phase":"` + phase + `"}}`
	}
	gone := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
	tests := map[string]struct {
		info  *resource.Info
		texts []string
		want  string // part of the error
	}{
		"a Job that completes": {resourceOf(jobKind, "jobs", "h", nil), []string{job("Suspended"), `{"type":"MODIFIED","object":` + job("Complete") + `}`}, ""},
		"a Job that fails":     {resourceOf(jobKind, "jobs", "h", nil), []string{job("Failed")}, "BackoffLimitExceeded"},
		"a Job that is gone":   {resourceOf(jobKind, "jobs", "h", nil), []string{gone}, ""},
		"a Job without end":    {resourceOf(jobKind, "jobs", "h", nil), []string{job("Suspended")}, "deadline exceeded"},
		"a Pod that succeeds":  {resourceOf(podKind, "pods", "h", nil), []string{pod("Running"), `{"type":"MODIFIED","object":` + pod("Succeeded") + `}`}, ""},
		"a Pod that fails":     {resourceOf(podKind, "pods", "h", nil), []string{pod("Failed")}, "the Pod failed"},
		"another kind":         {resourceOf(mapKind, "configmaps", "h", nil), nil, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newClient(t, t.Context(), tc.texts)
				err := c.WatchUntilReady(kube.ResourceList{tc.info}, time.Minute)
				if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestWaitsEndWithTheOperation(t *testing.T) {
	running := `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"h","resourceVersion":"1"}}`
	for name, wait := range map[string]func(*client) error{
		"a hook": func(c *client) error {
			return c.WatchUntilReady(kube.ResourceList{resourceOf(jobKind, "jobs", "h", nil)}, time.Hour)
		},
		"a deletion": func(c *client) error {
			return c.WaitForDelete(kube.ResourceList{resourceOf(jobKind, "jobs", "h", nil)}, time.Hour)
		},
		"a CRD": func(c *client) error {
			return c.Wait(kube.ResourceList{resourceOf(crdKind, "customresourcedefinitions", "h", nil)}, time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				c, _ := newClient(t, ctx, []string{running})
				if err := wait(c); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestWaitForDelete(t *testing.T) {
	there := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"h","resourceVersion":"1"}}`
	c, _ := newClient(t, t.Context(), []string{there, `{"type":"DELETED","object":` + there + `}`})
	if err := c.WaitForDelete(kube.ResourceList{resourceOf(mapKind, "configmaps", "h", nil)}, time.Minute); err != nil {
		t.Error(err)
	}
}

func TestWaitForCRDsUntilTheirKindIsKnown(t *testing.T) {
	established := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.io","resourceVersion":"1"},"status":{"conditions":[{"type":"Established","status":"True"}]}}`
	crd := resourceOf(crdKind, "customresourcedefinitions", "widgets.example.io", map[string]any{
		"spec": map[string]any{"group": "example.io", "names": map[string]any{"kind": "Widget"}},
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClient(t, t.Context(), []string{established})
		mapper := c.mapper.ResettableRESTMapper.(*fixedMapper)
		mapper.onReset = func(resets int) {
			if resets == 5 { // discovery is behind the CRD by a moment
				mapper.Add(schema.GroupVersionKind{Group: "example.io", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
			}
		}
		begun := time.Now()
		if err := c.Wait(kube.ResourceList{crd}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begun); waited != 4*discoveryPause {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestBuildLeavesOutWhatCannotExist(t *testing.T) {
	manifest := func(kinds ...string) string {
		var b strings.Builder
		for i, kind := range kinds {
			group, name, _ := strings.Cut(kind, " ")
			fmt.Fprintf(&b, "---\n# Source: nginx/templates/%d.yaml\napiVersion: %s\nkind: %s\nmetadata: {name: x%d}\n", i, group, name, i)
		}
		return b.String()
	}
	c, _ := newClient(t, t.Context(), nil, &metav1.APIResourceList{GroupVersion: "example.io/v1", APIResources: []metav1.APIResource{{Kind: "Gadget"}}})
	got, err := c.Build(strings.NewReader(manifest("v1 ConfigMap", "example.io/v1 Widget", "gone.io/v1 Thing", "v1 ConfigMap")), false)
	if err != nil || len(got) != 2 {
		t.Errorf("built %d objects, %v", len(got), err)
	}
	// A kind that discovery lists is not gone, whatever the mapper says.
	if _, err := c.Build(strings.NewReader(manifest("example.io/v1 Gadget")), false); err == nil {
		t.Error("left out an object of a kind that is served")
	}
}

func TestDeleteErrorsAreRemembered(t *testing.T) {
	c, _ := newClient(t, t.Context(), nil)
	if _, errs := c.DeleteWithPropagationPolicy(nil, metav1.DeletePropagationBackground); len(errs) == 0 || len(c.deleteErrors) != len(errs) {
		t.Errorf("%v, remembered %v", errs, c.deleteErrors)
	}
}

func TestGetterReadsNothingFromOutside(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent")
	t.Setenv("HELM_NAMESPACE", "elsewhere")
	t.Setenv("HELM_KUBEAPISERVER", "https://elsewhere.invalid")
	cluster := Cluster{Config: &rest.Config{Host: "https://cluster.invalid"}, Discovery: memory.NewMemCacheClient(&fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{}}), Mapper: newFixedMapper()}
	g, err := newGetter(t.Context(), cluster, "apps")
	if err != nil {
		t.Fatal(err)
	}
	config, err := g.ToRESTConfig()
	if err != nil || config.Host != "https://cluster.invalid" {
		t.Errorf("host %v, %v", config, err)
	}
	if namespace, _, err := g.ToRawKubeConfigLoader().Namespace(); err != nil || namespace != "apps" {
		t.Errorf("namespace %q, %v", namespace, err)
	}
	if config.WrapTransport == nil || cluster.Config.WrapTransport != nil {
		t.Error("the cluster's own configuration was changed, or its copy is not bound")
	}
	if _, err := newGetter(t.Context(), Cluster{}, "apps"); !errors.Is(err, errNoClient) {
		t.Errorf("without a client: %v", err)
	}
}

func TestBoundTransport(t *testing.T) {
	blocked := roundTripper(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequest(http.MethodGet, "https://cluster.invalid", nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := (&boundTransport{ctx, blocked}).RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Errorf("a request outlived its operation: %v", err)
	}

	// The answer can be read after RoundTrip returned, until the operation ends.
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	var sent context.Context
	answering := roundTripper(func(req *http.Request) (*http.Response, error) {
		sent = req.Context()
		return &http.Response{Body: io.NopCloser(strings.NewReader("x"))}, nil
	})
	resp, err := (&boundTransport{ctx, answering}).RoundTrip(req)
	if err != nil || sent.Err() != nil {
		t.Fatalf("%v, %v", err, sent.Err())
	}
	if err := resp.Body.Close(); err != nil || sent.Err() == nil {
		t.Errorf("closing the answer left its context behind: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
