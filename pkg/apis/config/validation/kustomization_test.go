// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

func TestValidateKustomizationRefs(t *testing.T) {
	tests := map[string]struct {
		change func(*config.KustomizationRef)
		want   []string
	}{
		"good": {func(*config.KustomizationRef) {}, nil},
		"all": {func(r *config.KustomizationRef) {
			r.Path, r.Components, r.TargetNamespace = "./overlays/prod", []string{"../../components/{{ .Cluster.metadata.name }}"}, "prod"
			r.Optional, r.SkipNamespaceCreation, r.Values = true, true, map[string]string{"a": "b"}
			r.ValuesFrom = []config.ValueFrom{{Kind: "Secret", Name: "a"}}
		}, nil},
		"absolute path":     {func(r *config.KustomizationRef) { r.Path = "/overlays" }, nil},
		"path that leaves":  {func(r *config.KustomizationRef) { r.Path = "a/../../b" }, []string{"refs[0].path: has to be a directory in the source"}},
		"empty component":   {func(r *config.KustomizationRef) { r.Components = []string{""} }, []string{"refs[0].components[0]: Required value"}},
		"bad namespace":     {func(r *config.KustomizationRef) { r.TargetNamespace = "A" }, []string{"refs[0].targetNamespace: RFC 1123"}},
		"other namespace":   {func(r *config.KustomizationRef) { r.Namespace = "kube-system" }, []string{"refs[0].namespace: has to be civo"}},
		"no name":           {func(r *config.KustomizationRef) { r.Name = "" }, []string{"refs[0].name: Required value"}},
		"Flux":              {func(r *config.KustomizationRef) { r.Kind, r.Path = "GitRepository", "overlays/{{ .ClusterName }}" }, nil},
		"Flux elsewhere":    {func(r *config.KustomizationRef) { r.Kind, r.Namespace = "Bucket", "flux-system" }, []string{"refs[0].namespace: has to be civo"}},
		"to the host":       {func(r *config.KustomizationRef) { r.DeploymentType = lib.DeploymentTypeLocal }, nil},
		"force":             {func(r *config.KustomizationRef) { r.Force = true }, nil},
		"values from a Job": {func(r *config.KustomizationRef) { r.ValuesFrom = []config.ValueFrom{{Kind: "Job", Name: "a"}} }, []string{`refs[0].valuesFrom[0].kind: Unsupported value: "Job"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ref := config.KustomizationRef{Kind: "ConfigMap", Name: "a", Tier: 100, DeploymentType: lib.DeploymentTypeRemote}
			tt.change(&ref)
			expect(t, validateKustomizationRefs([]config.KustomizationRef{ref}, "civo", field.NewPath("refs")), tt.want...)
		})
	}
}

func TestValidatePatches(t *testing.T) {
	tests := map[string]struct {
		patch lib.Patch
		want  []string
	}{
		"strategic merge": {lib.Patch{Patch: "spec: {replicas: 2}"}, nil},
		"JSON patch":      {lib.Patch{Patch: "- {op: remove, path: /spec}"}, nil},
		"template":        {lib.Patch{Patch: "{{ if"}, nil},
		"target": {lib.Patch{Patch: "a: b", Target: &lib.PatchSelector{
			Group: "apps", Kind: "Deployment|DaemonSet", Name: "web-.*", LabelSelector: "app in (a,b)", AnnotationSelector: "x",
		}}, nil},
		"nothing":  {lib.Patch{}, []string{"patches[0].patch: Required value"}},
		"a word":   {lib.Patch{Patch: "replace"}, []string{"patches[0].patch: has to be a mapping"}},
		"no YAML":  {lib.Patch{Patch: "a: b: hunter2"}, []string{"patches[0].patch: is not YAML"}},
		"too long": {lib.Patch{Patch: "a: " + strings.Repeat("x", maxPatchSize)}, []string{"patches[0].patch: Too long"}},
		"bad target": {
			lib.Patch{Patch: "a: b", Target: &lib.PatchSelector{Name: "web-(", LabelSelector: "a==b==c"}},
			[]string{"patches[0].target.name: is no regular expression", "patches[0].target.labelSelector: is no selector"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			expect(t, validatePatches([]lib.Patch{tt.patch}, field.NewPath("patches")), tt.want...)
		})
	}
}

func TestValidateExtra(t *testing.T) {
	spec := &config.ProfileSpec{
		ExtraLabels:      map[string]string{"team": "a", "cluster": "{{ .Cluster.metadata.name }}"},
		ExtraAnnotations: map[string]string{"example.com/note": "anything goes: {}"},
	}
	expect(t, validateExtra(spec, field.NewPath("spec")))
	// Labels have no order: one error of theirs at a time.
	spec.ExtraLabels["team"], spec.ExtraAnnotations["/x"] = "no value", "a"
	expect(t, validateExtra(spec, field.NewPath("spec")),
		"spec.extraLabels: a valid label must be", "spec.extraAnnotations: prefix part must be non-empty")
	spec.ExtraLabels = map[string]string{"z key!": "a"}
	expect(t, validateExtra(spec, field.NewPath("spec")),
		"spec.extraLabels: name part must consist", "spec.extraAnnotations: prefix part must be non-empty")
}
