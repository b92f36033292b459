// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/render"
)

// values reads a ConfigMap or Secret with values or patches, and renders what it holds if
// it is marked as a template. It is nil if it is optional and missing.
func (b *requestBuilder) values(ctx context.Context, path string, from configv1beta1.ValueFrom) (*render.Source, error) {
	content, err := b.fetch(ctx, reference{path: path, kind: from.Kind, namespace: from.Namespace, name: from.Name, optional: from.Optional})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if content == nil {
		return nil, nil
	}
	rendered, err := b.renderer.Texts(ctx, *b.secretly(content), b.data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	content.Data = rendered
	return content, nil
}

// addValues puts the values that a chart's valuesFrom hold over its own: first, in the
// order written, those that are no templates, then those that are.
func (b *requestBuilder) addValues(ctx context.Context, index int, refs []configv1beta1.ValueFrom, out *deploy.Chart) error {
	var plain, rendered []map[string]any
	for i, ref := range refs {
		path := fmt.Sprintf("valuesFrom[%d]", i)
		content, err := b.values(ctx, fmt.Sprintf("helmCharts[%d].%s", index, path), ref)
		if err != nil {
			return err
		}
		if content == nil {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(content.Data)) {
			values, err := parseValues(content, key)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if content.Kind == configv1beta1.SourceKindSecret || content.Private {
				out.Sensitive = appendStrings(out.Sensitive, values)
			}
			if _, isTemplate := content.Annotations[render.AnnotationTemplate]; isTemplate {
				rendered = append(rendered, values)
			} else {
				plain = append(plain, values)
			}
		}
	}
	for _, values := range append(plain, rendered...) {
		out.Values = mergeValues(out.Values, values)
	}
	return nil
}

func parseValues(content *render.Source, key string) (map[string]any, error) {
	text := content.Data[key]
	err := render.CheckYAML(text)
	var values map[string]any
	if err == nil && yaml.Unmarshal(text, &values) != nil {
		err = errors.New("has to hold a YAML mapping")
	}
	if err == nil {
		return values, nil
	}
	if content.Kind == configv1beta1.SourceKindSecret || content.Private {
		err = render.WithoutContent(err)
	}
	return nil, &render.SourceError{Kind: content.Kind, Namespace: content.Namespace, Name: content.Name, Key: key, Err: err}
}

// mergeValues lays mappings over each other, and replaces everything else. It writes to
// neither.
func mergeValues(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range over {
		below, belowIsMap := out[key].(map[string]any)
		above, aboveIsMap := value.(map[string]any)
		if belowIsMap && aboveIsMap {
			value = mergeValues(below, above)
		}
		out[key] = value
	}
	return out
}

// appendStrings appends all strings in a value, which no error may carry.
func appendStrings(list []string, value any) []string {
	switch value := value.(type) {
	case string:
		return append(list, value)
	case []any:
		for _, item := range value {
			list = appendStrings(list, item)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			list = appendStrings(list, value[key])
		}
	}
	return list
}

// kustomizationValues are what templates in a kustomization see: its values and those of
// its valuesFrom that are templates, rendered for the cluster, under those that are none.
func (b *requestBuilder) kustomizationValues(ctx context.Context, path string, ref *configv1beta1.KustomizationRef) (values map[string]any, secret bool, err error) {
	values = map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(ref.Values)) {
		if values[key], err = b.renderer.String(ctx, fmt.Sprintf("%s.values[%s]", path, key), ref.Values[key], b.data); err != nil {
			return nil, false, fmt.Errorf("values[%s]: %w", key, err)
		}
	}
	plain := map[string]any{}
	for i, from := range ref.ValuesFrom {
		content, err := b.values(ctx, fmt.Sprintf("valuesFrom[%d]", i), from)
		if err != nil {
			return nil, false, err
		}
		if content == nil {
			continue
		}
		into := plain
		if _, isTemplate := content.Annotations[render.AnnotationTemplate]; isTemplate {
			into = values
		}
		for key, text := range content.Data {
			into[key] = string(text)
		}
		secret = secret || content.Kind == configv1beta1.SourceKindSecret || content.Private
	}
	maps.Copy(values, plain)
	return values, secret, nil
}
