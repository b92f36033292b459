// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/kustomize"
)

// kustomizationKey is the key under which a ConfigMap or Secret holds a kustomization, as
// a tar archive compressed with gzip.
const kustomizationKey = "kustomize.tar.gz"

// kustomized builds kustomizationRefs, in the order written. As with policyRefs, what
// comes before a source that fails is in the list beside the error.
func (b *requestBuilder) kustomized(ctx context.Context, refs []configv1beta1.KustomizationRef) deploy.ObjectList {
	list := deploy.ObjectList{Feature: deploy.Kustomize}
	for i := range refs {
		path := fmt.Sprintf("kustomizationRefs[%d]", i)
		objects, from, err := b.kustomization(ctx, path, &refs[i])
		if err != nil {
			list.Err = fmt.Errorf("%s: %w", path, err)
			return list
		}
		for _, content := range objects {
			list.Objects = append(list.Objects, deploy.Object{Content: content, Source: from, SkipNamespaceCreation: refs[i].SkipNamespaceCreation})
		}
	}
	return list
}

// kustomization builds one reference and what it refers to.
func (b *requestBuilder) kustomization(ctx context.Context, path string, ref *configv1beta1.KustomizationRef) ([]*unstructured.Unstructured, inventory.Source, error) {
	source, err := b.fetch(ctx, reference{path: path, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional})
	if err != nil || source == nil {
		return nil, inventory.Source{}, err
	}
	from := inventory.Source{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name, Tier: ref.Tier}
	secret := source.Kind == configv1beta1.SourceKindSecret
	text, err := b.build(ctx, path, source, ref)
	if err != nil {
		return nil, from, err
	}
	values, secretValues, err := b.kustomizationValues(ctx, path, ref)
	if err != nil {
		return nil, from, err
	}
	rendered := *source
	rendered.Data = map[string][]byte{kustomizationKey: text}
	rendered.Annotations = maps.Clone(source.Annotations)
	delete(rendered.Annotations, render.AnnotationTemplate)
	if len(values) > 0 {
		// Templates in it see the values, and nothing of the cluster.
		rendered.Annotations = overlayTemplate(rendered.Annotations)
	}
	objects, err := b.renderer.Objects(ctx, rendered, values)
	if err != nil {
		if secretValues {
			err = &render.SourceError{Kind: from.Kind, Namespace: from.Namespace, Name: from.Name, Key: kustomizationKey, Err: render.WithoutContent(err)}
		}
		return nil, from, err
	}
	if objects, err = b.changes.Apply(inNamespace(objects, ref.TargetNamespace), secret || secretValues); err != nil {
		return nil, from, err
	}
	return objects, from, render.CheckDistinct(objects)
}

func overlayTemplate(annotations map[string]string) map[string]string {
	out := maps.Clone(annotations)
	if out == nil {
		out = map[string]string{}
	}
	out[render.AnnotationTemplate] = ""
	return out
}

// build builds the kustomization that a source holds.
func (b *requestBuilder) build(ctx context.Context, path string, source *render.Source, ref *configv1beta1.KustomizationRef) ([]byte, error) {
	broken := func(err error) error {
		if source.Kind == configv1beta1.SourceKindSecret {
			err = render.WithoutContent(err)
		}
		return &render.SourceError{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name, Key: kustomizationKey, Err: err}
	}
	if err := source.Check(); err != nil {
		return nil, &render.SourceError{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name, Err: err}
	}
	packed, found := source.Data[kustomizationKey]
	if !found {
		return nil, &render.SourceError{
			Kind: source.Kind, Namespace: source.Namespace, Name: source.Name,
			Err: fmt.Errorf("has no key %s with the kustomization as a compressed tar archive", kustomizationKey),
		}
	}
	files, err := archive.Untar(packed)
	if err != nil {
		return nil, broken(err)
	}
	sum := sha256.Sum256(packed)
	request := kustomize.Request{Files: files, Digest: hex.EncodeToString(sum[:])}
	if request.Path, err = b.renderer.String(ctx, path+".path", ref.Path, b.data); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	for i, component := range ref.Components {
		rendered, err := b.renderer.String(ctx, fmt.Sprintf("%s.components[%d]", path, i), component, b.data)
		if err != nil {
			return nil, fmt.Errorf("components[%d]: %w", i, err)
		}
		request.Components = append(request.Components, rendered)
	}
	text, err := b.kustomizations.Build(ctx, request)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, broken(err)
	}
	return text, nil
}

// inNamespace puts all objects into a namespace, if one is given. What has none by its
// kind loses it again when it is resolved for the cluster.
func inNamespace(objects []*unstructured.Unstructured, namespace string) []*unstructured.Unstructured {
	if namespace == "" {
		return objects
	}
	for _, object := range objects {
		object.SetNamespace(namespace)
	}
	return objects
}
