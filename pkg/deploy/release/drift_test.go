// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	helmrelease "helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// oneMap is a cluster with at most one ConfigMap, whose data can be patched.
type oneMap struct {
	object  *unstructured.Unstructured
	version int
	writes  []string
}

func (m *oneMap) put(object map[string]any, uid string) {
	m.version++
	m.object = &unstructured.Unstructured{Object: object}
	m.object.SetResourceVersion(fmt.Sprint(m.version))
	m.object.SetUID(types.UID(uid))
}

func (m *oneMap) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := func(code int, body any) (*http.Response, error) {
		text, err := json.Marshal(body)
		return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(text)))}, err
	}
	var sent map[string]any
	if req.Body != nil {
		if err := json.NewDecoder(req.Body).Decode(&sent); err != nil {
			return nil, err
		}
	}
	if req.Method != http.MethodGet {
		m.writes = append(m.writes, req.Method)
	}
	switch {
	case req.Method == http.MethodPost:
		m.put(sent, fmt.Sprint("made-", m.version))
		return answer(http.StatusCreated, m.object.Object)
	case m.object == nil:
		return answer(http.StatusNotFound, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
	case req.Method == http.MethodPatch:
		data, _, _ := unstructured.NestedMap(m.object.Object, "data")
		changes, _, _ := unstructured.NestedMap(sent, "data")
		for key, value := range changes {
			data[key] = value
		}
		object := m.object.DeepCopy().Object
		object["data"] = data
		m.put(object, string(m.object.GetUID()))
	}
	return answer(http.StatusOK, m.object.Object)
}

func TestRepairOfAReleasesObjects(t *testing.T) {
	const manifest = "---\n# Source: nginx/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: apps}\ndata: {color: grey, size: \"1\"}\n"
	live := func(color, size string, annotations map[string]any) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "web", "namespace": "apps", "annotations": annotations},
			"data": map[string]any{"color": color, "size": size, "theirs": "x"},
		}
	}
	ignored := func(o *unstructured.Unstructured) bool { return o.GetAnnotations()["ignore"] != "" }
	tests := map[string]struct {
		live    map[string]any
		repair  Repair
		writes  int
		changed bool
		color   string
		states  int
	}{
		"as it should be":     {live("grey", "1", nil), Repair{}, 0, false, "grey", 1},
		"changed":             {live("red", "1", nil), Repair{}, 1, true, "grey", 1},
		"deleted":             {nil, Repair{}, 1, true, "grey", 1},
		"another one":         {live("red", "1", nil), Repair{Only: func(k ObjectKey) bool { return k.Name != "web" }}, 0, false, "red", 0},
		"marked in place":     {live("red", "1", map[string]any{"ignore": "ok"}), Repair{Ignored: ignored}, 0, false, "red", 1},
		"an excluded field":   {live("red", "1", nil), Repair{Excluded: func(*unstructured.Unstructured) []string { return []string{"/data/color"} }}, 0, false, "red", 1},
		"beside an exclusion": {live("red", "2", nil), Repair{Excluded: func(*unstructured.Unstructured) []string { return []string{"/data/color"} }}, 1, true, "red", 1},
		"made with the field": {nil, Repair{Excluded: func(*unstructured.Unstructured) []string { return []string{"/data/color"} }}, 1, true, "grey", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			wire := &oneMap{}
			if tc.live != nil {
				wire.put(tc.live, "u")
			}
			c := newClientOver(t, t.Context(), wire)
			states, err := c.repair(&helmrelease.Release{Name: "web", Namespace: "apps", Manifest: manifest}, tc.repair)
			if err != nil {
				t.Fatal(err)
			}
			if len(wire.writes) != tc.writes || len(states) != tc.states {
				t.Errorf("writes %v, states %+v", wire.writes, states)
			}
			if color, _, _ := unstructured.NestedString(wire.object.Object, "data", "color"); color != tc.color {
				t.Errorf("the color is %q, want %q", color, tc.color)
			}
			for _, state := range states {
				if state.Changed != tc.changed || !state.Ignored && (state.UID != wire.object.GetUID() || state.ResourceVersion != wire.object.GetResourceVersion()) {
					t.Errorf("state %+v of %v", state, wire.object)
				}
			}
		})
	}
}
