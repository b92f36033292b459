// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/muster-project/muster/pkg/generated/openapi"
)

func definitions() (map[string]common.OpenAPIDefinition, *[]string) {
	var referred []string
	return openapi.GetOpenAPIDefinitions(func(name string) spec.Ref {
		referred = append(referred, name)
		return spec.MustCreateRef("#/definitions/" + name)
	}), &referred
}

// The server does not start if a type refers to one whose definition is not there.
func TestReferencesResolve(t *testing.T) {
	defs, referred := definitions()
	for _, name := range *referred {
		if _, exists := defs[name]; !exists {
			t.Errorf("%s is referred to and not defined", name)
		}
	}
	for name, definition := range defs {
		for _, dependency := range definition.Dependencies {
			if _, exists := defs[dependency]; !exists {
				t.Errorf("%s depends on %s, which is not defined", name, dependency)
			}
		}
	}
}

// Types of the core group are not served as if they were ours.
func TestOnlyReferencesOfTheCoreGroup(t *testing.T) {
	defs, _ := definitions()
	for name := range defs {
		if strings.HasPrefix(name, "io.k8s.api.") && name != "io.k8s.api.core.v1.ObjectReference" {
			t.Errorf("%s is defined", name)
		}
	}
}

// kubectl explain says something about every field of ours, and every list says how
// server-side apply merges it.
func TestFieldsAreExplained(t *testing.T) {
	defs, _ := definitions()
	fields := 0
	for name, definition := range defs {
		if !strings.HasPrefix(name, "io.muster-project.") {
			continue
		}
		for property, schema := range definition.Schema.Properties {
			if property == "apiVersion" || property == "kind" {
				continue
			}
			fields++
			if schema.Description == "" {
				t.Errorf("%s.%s has no description", name, property)
			}
			if _, exists := schema.Extensions["x-kubernetes-list-type"]; schema.Type.Contains("array") && !exists && property != "items" {
				t.Errorf("%s.%s does not say how it is merged", name, property)
			}
		}
	}
	if fields < 400 {
		t.Errorf("only %d fields were looked at", fields)
	}
}
