// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// expand returns the objects of a document: itself, or the items of a list, in lists
// within it too. It returns its error as what it is, for the lists around to add to.
func expand(document any) ([]map[string]any, *contentError) {
	object, ok := document.(map[string]any)
	if !ok {
		return nil, &contentError{what: "is no object, but " + describe(document)}
	}
	kind, _ := object["kind"].(string)
	items, ok := object["items"].([]any)
	if !ok || !strings.HasSuffix(kind, "List") {
		return []map[string]any{object}, nil
	}
	var objects []map[string]any
	for i, item := range items {
		inherit(item, object, kind)
		inner, err := expand(item)
		if err != nil {
			return nil, err.in("item " + strconv.Itoa(i+1) + " of the list ")
		}
		objects = append(objects, inner...)
	}
	return objects, nil
}

// inherit gives an item what it has from its list where that is typed: the API returns
// the items of a ConfigMapList without apiVersion and kind.
func inherit(item any, list map[string]any, listKind string) {
	object, ok := item.(map[string]any)
	kind := strings.TrimSuffix(listKind, "List")
	if !ok || kind == "" || object["kind"] != nil || object["apiVersion"] != nil {
		return
	}
	object["kind"], object["apiVersion"] = kind, list["apiVersion"]
}

func describe(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	default:
		return "a number"
	}
}

// checkObject checks what everything after rendering relies on: the object can be
// identified, addressed and labelled. What its kind demands is for the cluster to check.
func checkObject(object map[string]any) (*unstructured.Unstructured, error) {
	for _, field := range []string{"apiVersion", "kind"} {
		if s, ok := object[field].(string); !ok || s == "" {
			return nil, &contentError{what: field + " is missing or no string"}
		}
	}
	if _, ok := object["metadata"].(map[string]any); !ok {
		return nil, &contentError{what: "metadata is missing or no object"}
	}
	u := &unstructured.Unstructured{Object: object}
	if _, err := schema.ParseGroupVersion(u.GetAPIVersion()); err != nil {
		return nil, &contentError{what: "apiVersion is none", detail: strconv.Quote(u.GetAPIVersion())}
	}
	if err := checkNames(object); err != nil {
		return nil, err
	}
	for _, field := range []string{"labels", "annotations"} {
		if _, _, err := unstructured.NestedStringMap(object, "metadata", field); err != nil {
			return nil, &contentError{what: "metadata." + field + " has a value that is no string (quote it)", detail: err.Error()}
		}
	}
	return u, nil
}

func checkNames(object map[string]any) error {
	if generate, found, _ := unstructured.NestedFieldNoCopy(object, "metadata", "generateName"); found && generate != "" {
		return &contentError{what: "metadata.generateName would make another object each time; use metadata.name"}
	}
	for _, field := range []string{"name", "namespace"} {
		name, found, err := unstructured.NestedString(object, "metadata", field)
		switch {
		case err != nil:
			return &contentError{what: "metadata." + field + " is no string (quote it)", detail: err.Error()}
		case field == "name" && name == "":
			return &contentError{what: "metadata.name is missing"}
		case !found, name == "":
			continue
		}
		if problems := content.IsPathSegmentName(name); len(problems) > 0 {
			return &contentError{what: "metadata." + field + " is no name", detail: strconv.Quote(name) + " " + strings.Join(problems, ", ")}
		}
	}
	return nil
}

// objectName names an object for a reader of errors, as far as it has a name.
func objectName(object map[string]any) string {
	u := &unstructured.Unstructured{Object: object}
	if u.GetKind() == "" || u.GetName() == "" {
		return clip(u.GetKind())
	}
	return clip(sourceName(u.GetKind(), u.GetNamespace(), u.GetName()))
}
