// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	r := newRenderer(t)
	data := TemplateData(map[string]any{"metadata": map[string]any{"name": "cluster1"}})
	got, err := r.String(t.Context(), "releaseName", "web-{{ .Cluster.metadata.name }}", data)
	if err != nil || got != "web-cluster1" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, text := range []string{"", "plain", "{ {", "}}"} {
		if got, err := noTemplates(t).String(t.Context(), "releaseName", text, data); err != nil || got != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	_, err = r.String(t.Context(), "helmCharts[0].values", "a\n{{ .x }}", data)
	if err == nil || !strings.HasPrefix(err.Error(), "template helmCharts[0].values, line 2: ") {
		t.Errorf("got %v", err)
	}
}

func TestReferenceNames(t *testing.T) {
	r := newRenderer(t)
	data := TemplateData(map[string]any{"metadata": map[string]any{
		"name": "cluster1", "namespace": "civo", "labels": map[string]any{"env": "a&b"},
	}})
	for text, want := range map[string]string{
		"{{ .ClusterNamespace }}-{{ .ClusterName }}":      "civo-cluster1",
		"{{ .Cluster.metadata.name }}":                    "cluster1",
		"{{ .Cluster.metadata.labels.env }}, not escaped": "a&b, not escaped",
	} {
		if got, err := r.String(t.Context(), "policyRefs[0].name", text, data); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}
