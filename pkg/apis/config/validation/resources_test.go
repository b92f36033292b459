// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/muster-project/muster/pkg/apis/config"
)

func resourceRef(change func(*config.TemplateResourceRef)) config.TemplateResourceRef {
	ref := config.TemplateResourceRef{
		Identifier: "Settings", WatchFields: []string{"data.a", "metadata.labels['a.b/c']"},
		Resource: corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: "civo", Name: "{{ .Cluster.metadata.name }}"},
	}
	if change != nil {
		change(&ref)
	}
	return ref
}

func TestValidateTemplateResourceRefs(t *testing.T) {
	named := func(identifier string) config.TemplateResourceRef {
		return resourceRef(func(r *config.TemplateResourceRef) { r.Identifier = identifier })
	}
	of := func(change func(*corev1.ObjectReference)) []config.TemplateResourceRef {
		return []config.TemplateResourceRef{resourceRef(func(r *config.TemplateResourceRef) { change(&r.Resource) })}
	}
	watching := func(fields ...string) []config.TemplateResourceRef {
		return []config.TemplateResourceRef{resourceRef(func(r *config.TemplateResourceRef) { r.WatchFields = fields })}
	}
	for name, tt := range map[string]struct {
		refs []config.TemplateResourceRef
		want []string
	}{
		"good":                {[]config.TemplateResourceRef{named("a"), named("with-dash"), named("B.2")}, nil},
		"no identifier":       {[]config.TemplateResourceRef{named("")}, []string{"spec.templateResourceRefs[0].identifier: Required value"}},
		"identifier twice":    {[]config.TemplateResourceRef{named("a"), named("a")}, []string{"spec.templateResourceRefs[1].identifier: Duplicate"}},
		"no template's key":   {[]config.TemplateResourceRef{named(`a"b`)}, []string{"spec.templateResourceRefs[0].identifier: letters, digits"}},
		"long identifier":     {[]config.TemplateResourceRef{named(strings.Repeat("a", 64))}, []string{"spec.templateResourceRefs[0].identifier: Too long"}},
		"too many":            {make([]config.TemplateResourceRef, maxResourceRefs+1), []string{"spec.templateResourceRefs: Too many"}},
		"no version":          {of(func(o *corev1.ObjectReference) { o.APIVersion = "" }), []string{"spec.templateResourceRefs[0].resource.apiVersion: Required"}},
		"no version's syntax": {of(func(o *corev1.ObjectReference) { o.APIVersion = "a/b/c" }), []string{"spec.templateResourceRefs[0].resource.apiVersion: has to be a version"}},
		"no kind":             {of(func(o *corev1.ObjectReference) { o.Kind = "" }), []string{"spec.templateResourceRefs[0].resource.kind: Required"}},
		"no name":             {of(func(o *corev1.ObjectReference) { o.Name = "" }), []string{"spec.templateResourceRefs[0].resource.name: Required"}},
		"name with a path":    {of(func(o *corev1.ObjectReference) { o.Name = "../a" }), []string{"spec.templateResourceRefs[0].resource.name: may not contain"}},
		"name of a role":      {of(func(o *corev1.ObjectReference) { o.Name = "system:node" }), nil},
		"long template": {
			of(func(o *corev1.ObjectReference) { o.Name = "{{" + strings.Repeat(" ", maxTemplateSize) + "}}" }),
			[]string{"spec.templateResourceRefs[0].resource.name: Too long"},
		},
		"foreign namespace":     {of(func(o *corev1.ObjectReference) { o.Namespace = "other" }), []string{"spec.templateResourceRefs[0].resource.namespace: has to be civo"}},
		"namespace by template": {of(func(o *corev1.ObjectReference) { o.Namespace = "{{ .Cluster.metadata.namespace }}" }), nil},
		"the cluster's":         {of(func(o *corev1.ObjectReference) { o.Namespace = "" }), nil},
		"no path":               {watching("a..b"), []string{"spec.templateResourceRefs[0].watchFields[0]: it has an empty name in it"}},
		"a pointer":             {watching("/spec/replicas"), []string{"spec.templateResourceRefs[0].watchFields[0]: slashes between names"}},
		"too many fields":       {watching(make([]string, maxWatchFields+1)...), []string{"spec.templateResourceRefs[0].watchFields: Too many"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := validProfile()
			p.Spec.TemplateResourceRefs = tt.refs
			expect(t, ValidateProfile(p), tt.want...)
			// What is stored already stays writable.
			changed := p.DeepCopy()
			changed.Labels = map[string]string{"a": "b"}
			expect(t, ValidateProfileUpdate(changed, p))
		})
	}
}

func TestWarningsOnTemplateResourceRefs(t *testing.T) {
	p := validProfile()
	p.Spec.TemplateResourceRefs = []config.TemplateResourceRef{resourceRef(nil), resourceRef(func(r *config.TemplateResourceRef) { r.Identifier = "a-b" })}
	warnings := WarningsOnProfile(p)
	if len(warnings) != 1 || !strings.Contains(warnings[0], `spec.templateResourceRefs[1].identifier: templates cannot write .MgmtResources.a-b; write getResource "a-b"`) {
		t.Errorf("warnings are %q", warnings)
	}
}
