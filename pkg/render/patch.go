// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/muster-project/muster/pkg/render/kustomize"
)

// Patch changes rendered objects.
type Patch struct {
	// Name says in errors which patch is meant, such as "patches[0]".
	Name string
	// Text is a JSON patch (RFC 6902) if it is a list, and a strategic merge patch if it
	// is a mapping; YAML or JSON.
	Text string
	// Target selects the objects. Without one, a strategic merge patch that has a kind
	// and a name is for the object that it names, and any other patch for all objects.
	Target *PatchTarget
	// Secret says that no error may quote the text.
	Secret bool
}

// PatchTarget selects objects. An empty field selects all. Those that are no selectors are
// regular expressions, which have to match the whole of what the object has.
type PatchTarget struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`

	LabelSelector      string `json:"labelSelector,omitempty"`
	AnnotationSelector string `json:"annotationSelector,omitempty"`
}

// PatchError says which patch is broken, or cannot be applied to which object. It holds
// nothing of the contents of a Secret.
type PatchError struct {
	// Patch is its name.
	Patch string
	// Object is the kind, namespace and name of the object; empty where the patch itself
	// is broken.
	Object string
	// Err is the reason.
	Err error
}

func (e *PatchError) Error() string {
	if e.Object == "" {
		return fmt.Sprintf("%s: %v", e.Patch, e.Err)
	}
	return fmt.Sprintf("%s cannot be applied to %s: %v", e.Patch, e.Object, e.Err)
}

// Unwrap returns the reason.
func (e *PatchError) Unwrap() error { return e.Err }

func (p Patch) wrap(object string, err error) error {
	if p.Secret {
		err = WithoutContent(err)
	}
	return &PatchError{Patch: p.Name, Object: object, Err: err}
}

// patch is a Patch that was understood. Exactly one of operations and merge is set.
type patch struct {
	Patch
	operations jsonpatch.Patch
	merge      map[string]any
	matchers   []matcher
}

type matcher func(*unstructured.Unstructured) bool

func (p Patch) compile() (patch, error) {
	out := patch{Patch: p}
	decoded, err := decodeDocument([]byte(p.Text))
	if err != nil {
		return out, err
	}
	switch decoded := decoded.(type) {
	case []any:
		out.operations, err = operations(decoded)
	case map[string]any:
		out.merge = decoded
	default:
		err = &contentError{what: "is neither a JSON patch, which is a list, nor a strategic merge patch, which is a mapping"}
	}
	if err != nil {
		return out, err
	}
	out.matchers, err = p.Target.matchers()
	if p.Target == nil && out.merge != nil {
		out.matchers = named(out.merge)
	}
	return out, err
}

// maxOperations is how many operations a JSON patch may have. Each may move a whole list.
const maxOperations = 1000

// operations checks what applying would not say before an object matches.
func operations(list []any) (jsonpatch.Patch, error) {
	encoded, err := json.Marshal(list)
	if err != nil {
		return nil, &contentError{what: "cannot be written as JSON", detail: err.Error()}
	}
	decoded, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, &contentError{what: "is no JSON patch, whose items have op, path and value", detail: err.Error()}
	}
	if len(decoded) > maxOperations {
		return nil, &contentError{what: fmt.Sprintf("has %d operations, at most %d are allowed", len(decoded), maxOperations), reason: ErrTooLarge}
	}
	for i, operation := range decoded {
		path, err := operation.Path()
		if err != nil || !strings.HasPrefix(path, "/") {
			return nil, &contentError{what: fmt.Sprintf("operation %d has no path, which starts with a slash", i+1), detail: path}
		}
	}
	return decoded, nil
}

// named are the matchers of a strategic merge patch without a target.
func named(merge map[string]any) []matcher {
	u := &unstructured.Unstructured{Object: merge}
	kind, _ := merge["kind"].(string)
	name, _, _ := unstructured.NestedString(merge, "metadata", "name")
	if kind == "" || name == "" {
		return nil
	}
	group, namespace := u.GroupVersionKind().Group, u.GetNamespace()
	return []matcher{func(o *unstructured.Unstructured) bool {
		gvk := o.GroupVersionKind()
		return gvk.Kind == kind && o.GetName() == name && gvk.Group == group &&
			(namespace == "" || o.GetNamespace() == namespace)
	}}
}

// Selects returns what tells whether an object is selected; nil selects all. Its errors say
// which field is no regular expression or selector.
func (t *PatchTarget) Selects() (func(*unstructured.Unstructured) bool, error) {
	matchers, err := t.matchers()
	if err != nil {
		return nil, err
	}
	return func(object *unstructured.Unstructured) bool {
		return !slices.ContainsFunc(matchers, func(matches matcher) bool { return !matches(object) })
	}, nil
}

func (t *PatchTarget) matchers() ([]matcher, error) {
	if t == nil {
		return nil, nil
	}
	expressions, err := t.expressions()
	if err != nil {
		return nil, err
	}
	selectors, err := t.selectors()
	return append(expressions, selectors...), err
}

func (t *PatchTarget) expressions() ([]matcher, error) {
	var out []matcher
	for _, field := range []struct {
		name, expression string
		of               func(*unstructured.Unstructured) string
	}{
		{"group", t.Group, func(o *unstructured.Unstructured) string { return o.GroupVersionKind().Group }},
		{"version", t.Version, func(o *unstructured.Unstructured) string { return o.GroupVersionKind().Version }},
		{"kind", t.Kind, (*unstructured.Unstructured).GetKind},
		{"namespace", t.Namespace, (*unstructured.Unstructured).GetNamespace},
		{"name", t.Name, (*unstructured.Unstructured).GetName},
	} {
		if field.expression == "" {
			continue
		}
		expression, err := regexp.Compile("^(?:" + field.expression + ")$")
		if err != nil {
			return nil, &contentError{what: "target." + field.name + " is no regular expression", detail: err.Error()}
		}
		out = append(out, func(o *unstructured.Unstructured) bool { return expression.MatchString(field.of(o)) })
	}
	return out, nil
}

func (t *PatchTarget) selectors() ([]matcher, error) {
	var out []matcher
	for _, field := range []struct {
		name, selector string
		of             func(*unstructured.Unstructured) map[string]string
	}{
		{"labelSelector", t.LabelSelector, (*unstructured.Unstructured).GetLabels},
		{"annotationSelector", t.AnnotationSelector, (*unstructured.Unstructured).GetAnnotations},
	} {
		if field.selector == "" {
			continue
		}
		selector, err := labels.Parse(field.selector)
		if err != nil {
			return nil, &contentError{what: "target." + field.name + " is no selector", detail: err.Error()}
		}
		out = append(out, func(o *unstructured.Unstructured) bool { return selector.Matches(labels.Set(field.of(o))) })
	}
	return out, nil
}

func (p *patch) matches(object *unstructured.Unstructured) bool {
	return !slices.ContainsFunc(p.matchers, func(m matcher) bool { return !m(object) })
}

// apply returns the object with the patch, or nil if the patch deletes it. What comes out
// is checked as what is rendered is: a patch can make a name of a number.
func (p *patch) apply(object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	encoded, err := json.Marshal(object.Object)
	if err != nil {
		return nil, &contentError{what: "cannot be written as JSON", detail: err.Error()}
	}
	if p.operations != nil {
		encoded, err = applyOperations(p.operations, encoded)
	} else {
		encoded, err = applyMerge(p.merge, encoded)
	}
	if err != nil || encoded == nil {
		return nil, err
	}
	if len(encoded) > MaxObject {
		return nil, tooLarge("the patched object", len(encoded), MaxObject)
	}
	var changed map[string]any
	if err := utiljson.Unmarshal(encoded, &changed); err != nil {
		return nil, &contentError{what: "the patch makes no object of it", detail: err.Error()}
	}
	if p.merge != nil {
		// A strategic merge patch says with these which object it is for.
		restore(changed, object.Object)
	}
	return checkObject(changed)
}

func applyOperations(operations jsonpatch.Patch, object []byte) ([]byte, error) {
	options := jsonpatch.NewApplyOptions()
	// What is to be removed may be missing, as upstream has it: one patch serves objects
	// that have a field and objects that don't.
	options.AllowMissingPathOnRemove = true
	options.AccumulatedCopySizeLimit = MaxObject
	changed, err := operations.ApplyWithOptions(object, options)
	if err != nil {
		return nil, &contentError{what: "an operation fails", detail: err.Error()}
	}
	return changed, nil
}

func applyMerge(merge map[string]any, object []byte) ([]byte, error) {
	encoded, err := json.Marshal(merge)
	if err != nil {
		return nil, &contentError{what: "cannot be written as JSON", detail: err.Error()}
	}
	changed, err := kustomize.Merge(encoded, object)
	if err != nil {
		return nil, &contentError{what: "cannot be merged", detail: err.Error()}
	}
	return changed, nil
}

// restore gives an object back what identifies it.
func restore(changed, object map[string]any) {
	for _, field := range []string{"apiVersion", "kind"} {
		changed[field] = object[field]
	}
	for _, field := range []string{"name", "namespace"} {
		if value, found, _ := unstructured.NestedString(object, "metadata", field); found {
			_ = unstructured.SetNestedField(changed, value, "metadata", field) // only a metadata that is no object refuses it, and checkObject does
		} else {
			unstructured.RemoveNestedField(changed, "metadata", field)
		}
	}
}
