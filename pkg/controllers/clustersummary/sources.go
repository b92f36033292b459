// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/flux"
)

// SourceError is a ConfigMap, a Secret or a source of Flux that cannot be read.
type SourceError struct {
	Kind string
	Name types.NamespacedName
	Err  error
}

// Error names the source.
func (e *SourceError) Error() string {
	return fmt.Sprintf("%s %s of the host: %v", e.Kind, e.Name, e.Err)
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// reference is a part of a profile that names a source.
type reference struct {
	// path leads to it in the spec, as in policyRefs[0].
	path                  string
	kind, namespace, name string
	optional              bool
}

// objects renders policyRefs, in the order written. What comes before a source
// that fails is in the list beside the error.
func (b *requestBuilder) objects(ctx context.Context, refs []configv1beta1.PolicyRef) deploy.ObjectList {
	list := deploy.ObjectList{Feature: deploy.Resources}
	for i, ref := range refs {
		path := fmt.Sprintf("policyRefs[%d]", i)
		objects, from, err := b.source(ctx, path, ref)
		if err != nil {
			list.Err = errors.Join(list.Err, fmt.Errorf("%s: %w", path, err))
			if !b.continueOnError {
				return list
			}
			continue
		}
		b.add(&list, ref.DeploymentType, objects, deploy.Object{
			Source: from.Source, Subresources: from.subresources, SkipNamespaceCreation: ref.SkipNamespaceCreation, Force: ref.Force,
		})
	}
	return list
}

// source renders one reference and what it refers to. An optional source that is missing
// holds nothing.
func (b *requestBuilder) source(ctx context.Context, path string, ref configv1beta1.PolicyRef) ([]*unstructured.Unstructured, origin, error) {
	content, err := b.manifests(ctx, path, ref)
	if err != nil || content == nil {
		return nil, origin{}, err
	}
	b.secretly(content)
	from := originOf(*content, ref.Tier)
	from.Private = content.Private
	objects, err := b.renderer.Objects(ctx, *content, b.data)
	if err != nil {
		return nil, from, err
	}
	objects, err = b.changes.Apply(objects, content.Private || content.Kind == configv1beta1.SourceKindSecret)
	return objects, from, err
}

// manifests reads the object or fetches the URL that a reference names, nil if that is
// optional and missing.
func (b *requestBuilder) manifests(ctx context.Context, path string, ref configv1beta1.PolicyRef) (*render.Source, error) {
	if flux.IsKind(ref.Kind) {
		return b.fluxManifests(ctx, path, ref)
	}
	if ref.RemoteURL == nil {
		return b.fetch(ctx, reference{path: path, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional})
	}
	fetched, err := b.remote(ctx, *ref.RemoteURL, ref.Optional)
	if err != nil || fetched == nil {
		return nil, err
	}
	source, err := fetched.manifests()
	return &source, err
}

// fetch reads what a reference names, nil if that is optional and missing.
func (b *requestBuilder) fetch(ctx context.Context, ref reference) (*render.Source, error) {
	name, err := b.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	content, err := b.observedObject(ctx, ref.kind, name)
	if ref.optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &content, nil
}

// resolve renders the name that a reference gives.
func (b *requestBuilder) resolve(ctx context.Context, ref reference) (types.NamespacedName, error) {
	var name types.NamespacedName
	var err error
	if name.Namespace, err = b.renderer.String(ctx, ref.path+".namespace", ref.namespace, b.data); err != nil {
		return name, err
	}
	if name.Namespace == "" {
		name.Namespace = b.namespace
	}
	if err := b.mayRead(name.Namespace); err != nil {
		return name, err
	}
	name.Name, err = b.renderer.String(ctx, ref.path+".name", ref.name, b.data)
	return name, err
}

// mayRead refuses other namespaces than a Profile's own. Validation has seen plain names;
// what a template makes of them it has not.
func (b *requestBuilder) mayRead(namespace string) error {
	if b.tenant != "" && namespace != b.tenant {
		return fmt.Errorf("namespace %q: a Profile reads from its own namespace %q only", namespace, b.tenant)
	}
	return nil
}

// read reads a source from the host.
func (b *requestBuilder) read(ctx context.Context, kind string, name types.NamespacedName) (render.Source, error) {
	b.reads(sourceRef{kind: kind, NamespacedName: name})
	out := render.Source{Kind: kind, Namespace: name.Namespace, Name: name.Name}
	switch kind {
	case configv1beta1.SourceKindConfigMap:
		object := &corev1.ConfigMap{}
		if err := b.host.Get(ctx, name, object); err != nil {
			return out, sourceError(kind, name, err)
		}
		out.Annotations = object.Annotations
		out.Data = maps.Clone(object.BinaryData)
		if out.Data == nil {
			out.Data = map[string][]byte{}
		}
		for key, value := range object.Data {
			out.Data[key] = []byte(value)
		}
	case configv1beta1.SourceKindSecret:
		object := &corev1.Secret{}
		if err := b.host.Get(ctx, name, object); err != nil {
			return out, sourceError(kind, name, err)
		}
		out.Type, out.Annotations, out.Data = string(object.Type), object.Annotations, object.Data
	default:
		return out, fmt.Errorf("kind %q is not supported yet", kind)
	}
	return out, nil
}

func sourceError(kind string, name types.NamespacedName, err error) error {
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("does not exist: %w", err)
	}
	return &SourceError{Kind: kind, Name: name, Err: err}
}
