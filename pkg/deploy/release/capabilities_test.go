// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

// What a cluster serves is asked for once, and again when it has changed.
func TestServedIsRecalled(t *testing.T) {
	tag, code := `"1"`, http.StatusOK
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.URL.Path+" "+r.Header.Get("If-None-Match"))
		switch {
		case code != http.StatusOK:
			w.WriteHeader(code)
		case tag != "" && r.Header.Get("If-None-Match") == tag:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("ETag", tag)
		}
	}))
	defer server.Close()
	m := NewManager(Options{})
	config := &rest.Config{Host: server.URL}
	newCluster := func() discovery.CachedDiscoveryInterface {
		return memory.NewMemCacheClient(&fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{}})
	}
	first, second := newCluster(), newCluster()
	caps := &chartutil.Capabilities{KubeVersion: chartutil.KubeVersion{Version: "v1.31.0"}}
	recall := func(c discovery.CachedDiscoveryInterface, learns bool) *chartutil.Capabilities {
		known, learn := m.recallServed(t.Context(), c, config)
		if learns {
			learn(caps)
		}
		return known
	}
	if recall(first, true) != nil {
		t.Error("known before anybody asked")
	}
	if recall(first, true) != caps {
		t.Error("not recalled")
	}
	if recall(second, false) != nil {
		t.Error("another cluster serves the same")
	}
	tag = `"2"`
	if recall(first, true) != nil {
		t.Error("recalled although it has changed")
	}
	if recall(first, false) != caps {
		t.Error("not recalled after a change")
	}
	code = http.StatusForbidden
	if recall(first, true) != nil {
		t.Error("recalled although nobody says that it is still so")
	}
	code, tag = http.StatusOK, ""
	for range 2 {
		if recall(first, true) != nil {
			t.Error("recalled without a tag")
		}
	}
	want := []string{"/apis ", `/apis "1"`, "/apis ", `/apis "1"`, `/apis "2"`, `/apis "2"`, `/apis "2"`, `/apis "2"`}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestNeedsValidation(t *testing.T) {
	if !needsValidation(nil) {
		t.Error("an unknown server validates by itself")
	}
	for text, want := range map[string]bool{"v1.26.15": true, "v1.27.0": false, "v1.34.1+k3s1": false, "v1.30.5-gke.100": false, "nonsense": true} {
		if got := needsValidation(&chartutil.Capabilities{KubeVersion: chartutil.KubeVersion{Version: text}}); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
