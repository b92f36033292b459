// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/script"
)

// Limits on what a source may render to.
const (
	// MaxObject is the most that one object may have as JSON, in bytes: what etcd takes
	// in one request by default.
	MaxObject = 3 << 19
	// MaxDocument is the most that one YAML document may have as text, in bytes: what an
	// API server reads in one request. Parsing takes many times the text's memory.
	MaxDocument = 3 << 20
	// MaxSet is the most that all objects of one source may have as JSON, in bytes.
	MaxSet = 16 << 20
)

// SecretType is the type that a Secret must have to be a source of objects.
const SecretType = "addons.projectsveltos.io/cluster-profile"

// Annotations of sources with a meaning. Only their presence counts, not their value.
const (
	// AnnotationTemplate marks contents that are a Go template.
	AnnotationTemplate = "projectsveltos.io/template"
	// AnnotationLua marks contents that are a Lua script.
	AnnotationLua = "projectsveltos.io/lua"
	// AnnotationSubresources lists subresources to apply as well.
	AnnotationSubresources = "projectsveltos.io/subresources"
)

// Source is a ConfigMap or a Secret as it was read.
type Source struct {
	// Kind is ConfigMap or Secret, or says in errors what else it is.
	Kind string
	// Namespace and Name of the object.
	Namespace, Name string
	// Type is the Secret's; empty for a ConfigMap.
	Type string
	// Annotations of the object.
	Annotations map[string]string
	// Data is what the object holds, decoded; for a ConfigMap data and binaryData
	// together.
	Data map[string][]byte
	// Private says that no error may quote it, as of a Secret.
	Private bool
}

// Templates evaluates templates; *script.Pool does.
type Templates interface {
	RenderTemplate(ctx context.Context, t script.Template) (string, error)
}

// Renderer renders sources and single strings. It is safe for concurrent use if Templates
// and Scripts are.
type Renderer struct {
	// Templates evaluates what is a template.
	Templates Templates
	// Scripts runs what is a Lua script; without it such sources are refused.
	Scripts Scripts
	// Parsed remembers what was parsed; with nil nothing is.
	Parsed *Parsed
}

// TemplateData returns the data that templates see: .Cluster is the whole cluster object,
// .ClusterNamespace and .ClusterName are its namespace and name, by which upstream's
// documentation has the names of references written. .MgmtResources has no objects of the
// host yet. .KubeadmControlPlane and
// .InfrastructureProvider are nil, as for every cluster that Cluster API did not make, so
// that templates can ask for them.
func TemplateData(cluster map[string]any) map[string]any {
	u := unstructured.Unstructured{Object: cluster}
	return map[string]any{
		"Cluster":                cluster,
		"ClusterNamespace":       u.GetNamespace(),
		"ClusterName":            u.GetName(),
		script.DataResources:     map[string]any{},
		"KubeadmControlPlane":    nil,
		"InfrastructureProvider": nil,
	}
}

// String renders text as a template if it contains "{{", and returns it as it is
// otherwise. Helm values, chart fields and the names in references are such strings. name
// says in errors what was rendered.
func (r *Renderer) String(ctx context.Context, name, text string, data map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	return r.Templates.RenderTemplate(ctx, script.Template{Name: name, Text: text, Data: data})
}
