// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

func parse(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

func owner(name string, tier int32) inventory.Owner {
	return inventory.Owner{Kind: "ClusterProfile", Name: name, Tier: tier}
}

func source(name string, tier int32) inventory.Source {
	return inventory.Source{Kind: "ConfigMap", Namespace: "civo", Name: name, Tier: tier}
}

// configMap is a ConfigMap in namespace apps.
func configMap(t testing.TB, name, value string) Object {
	return object(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: apps}\ndata: {value: %q}\n", name, value))
}

func object(t testing.TB, text string) Object {
	return Object{Content: parse(t, text), Source: source("manifests", 100)}
}

func resources(objects ...Object) []ObjectList {
	return []ObjectList{{Feature: Resources, Objects: objects}}
}

func configMapPath(name string) string { return "/api/v1/namespaces/apps/configmaps/" + name }

func chart(name, version string) Chart {
	return Chart{
		Ref:       release.ChartRef{RepositoryURL: "https://charts.example", ChartName: name, Version: version},
		Namespace: "apps", Name: name,
	}
}

const widgetCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.io}
spec:
  group: example.io
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
`
