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
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/render"
)

// newChanges renders what the profile changes in everything that it deploys: its patches,
// then those that its patchesFrom hold, then extraLabels and extraAnnotations.
func (b *requestBuilder) newChanges(ctx context.Context, spec *configv1beta1.ProfileSpec) (*render.Changes, error) {
	var patches []render.Patch
	for i := range spec.Patches {
		patch, err := b.patch(ctx, fmt.Sprintf("patches[%d]", i), &spec.Patches[i])
		if err != nil {
			return nil, err
		}
		patches = append(patches, patch)
	}
	for i, from := range spec.PatchesFrom {
		more, err := b.patchesFrom(ctx, fmt.Sprintf("patchesFrom[%d]", i), from)
		if err != nil {
			return nil, err
		}
		patches = append(patches, more...)
	}
	labels, err := b.extra(ctx, "extraLabels", spec.ExtraLabels)
	if err != nil {
		return nil, err
	}
	annotations, err := b.extra(ctx, "extraAnnotations", spec.ExtraAnnotations)
	if err != nil {
		return nil, err
	}
	return render.NewChanges(patches, labels, annotations)
}

// patch renders one patch.
func (b *requestBuilder) patch(ctx context.Context, name string, in *libv1beta1.Patch) (render.Patch, error) {
	text, err := b.renderer.String(ctx, name+".patch", in.Patch, b.data)
	if err != nil {
		return render.Patch{}, &render.PatchError{Patch: name, Err: err}
	}
	return render.Patch{Name: name, Text: text, Target: patchTarget(in.Target), Secret: b.private}, nil
}

func patchTarget(in *libv1beta1.PatchSelector) *render.PatchTarget {
	if in == nil {
		return nil
	}
	return &render.PatchTarget{
		Group: in.Group, Version: in.Version, Kind: in.Kind, Namespace: in.Namespace, Name: in.Name,
		LabelSelector: in.LabelSelector, AnnotationSelector: in.AnnotationSelector,
	}
}

// extra renders the values of extra labels or annotations.
func (b *requestBuilder) extra(ctx context.Context, field string, values map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		var err error
		if out[key], err = b.renderer.String(ctx, field+"["+key+"]", values[key], b.data); err != nil {
			return nil, fmt.Errorf("%s[%s]: %w", field, key, err)
		}
	}
	return out, nil
}

// patchesFrom reads the patches of a ConfigMap or Secret: under each key, in alphabetical
// order, one patch or a list of them, each in the form that it has in a profile.
func (b *requestBuilder) patchesFrom(ctx context.Context, path string, from configv1beta1.ValueFrom) ([]render.Patch, error) {
	content, err := b.values(ctx, path, from)
	if err != nil || content == nil {
		return nil, err
	}
	secret := content.Kind == configv1beta1.SourceKindSecret || content.Private
	var patches []render.Patch
	for _, key := range slices.Sorted(maps.Keys(content.Data)) {
		name := fmt.Sprintf("%s: %s %s/%s, key %q", path, content.Kind, content.Namespace, content.Name, key)
		found, err := parsePatches(content.Data[key])
		if err != nil {
			if secret {
				err = render.WithoutContent(err)
			}
			return nil, &render.PatchError{Patch: name, Err: err}
		}
		for i := range found {
			item := name
			if len(found) > 1 {
				item = fmt.Sprintf("%s, patch %d", name, i+1)
			}
			patches = append(patches, render.Patch{Name: item, Text: found[i].Patch, Target: patchTarget(found[i].Target), Secret: secret})
		}
	}
	return patches, nil
}

// errNoPatch says what a key of patchesFrom has to hold.
var errNoPatch = errors.New("has to hold a patch, as in the profile: a mapping with patch and target, or a list of such mappings")

func parsePatches(text []byte) ([]libv1beta1.Patch, error) {
	if err := render.CheckYAML(text); err != nil {
		return nil, err
	}
	var list []libv1beta1.Patch
	if err := yaml.UnmarshalStrict(text, &list); err != nil {
		var one libv1beta1.Patch
		if yaml.UnmarshalStrict(text, &one) != nil {
			return nil, errNoPatch
		}
		list = []libv1beta1.Patch{one}
	}
	for _, patch := range list {
		if patch.Patch == "" {
			return nil, errNoPatch
		}
	}
	return list, nil
}
