// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/action"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery/cached/memory"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
)

// charts see of a cluster what Helm would show them, and what their own definitions will
// make of it.
func TestWhatChartsSeeOfACluster(t *testing.T) {
	wire := &replies{texts: []string{
		`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"b":"c"}}`,
		`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`,
		`{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}]}`,
		`{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","metadata":{"name":"d"}}`,
	}}
	discovery := &fakediscovery.FakeDiscovery{
		Fake:               &clienttesting.Fake{Resources: []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods", Kind: "Pod"}}}}},
		FakedServerVersion: &version.Info{GitVersion: "v1.34.1", Major: "1", Minor: "34"},
	}
	cluster := Cluster{Config: &rest.Config{Host: "https://cluster.invalid", Transport: wire, QPS: -1}, Discovery: memory.NewMemCacheClient(discovery), Mapper: newFixedMapper()}
	getter, err := newGetter(t.Context(), cluster, "apps")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := much(newHelmBench(t), "1.0.0").parse()
	if err != nil {
		t.Fatal(err)
	}
	for upgrade, want := range map[bool][]string{true: {"v1", "v1/Pod"}, false: {"example.com/v1", "example.com/v1/Widget", "v1", "v1/Pod"}} {
		op := &operation{helm: &action.Configuration{RESTClientGetter: getter}}
		var request rendering.Request
		if err := op.knowCluster(parsed, !upgrade, &request); err != nil {
			t.Fatal(err)
		}
		capabilities := rendering.Capabilities{Version: "v1.34.1", Major: "1", Minor: "34", APIVersions: want}
		if diff := cmp.Diff(capabilities, request.Capabilities); diff != "" {
			t.Errorf("upgrade %t (-want +got):\n%s", upgrade, diff)
		}
		_, err := request.Lookup(t.Context(), rendering.Query{APIVersion: "example.com/v1", Kind: "Widget", Name: "x"})
		if upgrade != (err != nil) {
			t.Errorf("upgrade %t: a kind that the chart brings along: %v", upgrade, err)
		}
		if upgrade {
			continue
		}
		lookUpAll(t, &request)
	}
	paths := []string{"GET /api/v1/namespaces/x/configmaps/a", "GET /api/v1/namespaces/x/configmaps/b", "GET /api/v1/pods", "GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/d"}
	if !slices.Equal(wire.urls, paths) {
		t.Errorf("asked for %q", wire.urls)
	}
}

func lookUpAll(t *testing.T, request *rendering.Request) {
	t.Helper()
	for _, tt := range []struct {
		query rendering.Query
		want  string
		fails string
	}{
		{query: rendering.Query{APIVersion: "v1", Kind: "ConfigMap", Namespace: "x", Name: "a"}, want: "ConfigMap"},
		{query: rendering.Query{APIVersion: "v1", Kind: "ConfigMap", Namespace: "x", Name: "b"}},
		{query: rendering.Query{APIVersion: "v1", Kind: "Pod"}, want: "PodList"},
		{query: rendering.Query{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Namespace: "ignored", Name: "d"}, want: "CustomResourceDefinition"},
		{query: rendering.Query{APIVersion: "other.example.com/v1", Kind: "None", Name: "x"}, fails: "looking up None of other.example.com/v1"},
	} {
		found, err := request.Lookup(t.Context(), tt.query)
		kind, _ := found["kind"].(string)
		if kind != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%v: %v, %v", tt.query, found, err)
		}
	}
}
