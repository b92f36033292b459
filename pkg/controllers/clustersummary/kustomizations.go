// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/flux"
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
			list.Err = errors.Join(list.Err, fmt.Errorf("%s: %w", path, err))
			if !b.continueOnError {
				return list
			}
			continue
		}
		b.add(&list, refs[i].DeploymentType, objects, deploy.Object{
			Source: from.Source, Subresources: from.subresources, SkipNamespaceCreation: refs[i].SkipNamespaceCreation, Force: refs[i].Force,
		})
	}
	return list
}

// kustomization builds one reference and what it refers to.
func (b *requestBuilder) kustomization(ctx context.Context, path string, ref *configv1beta1.KustomizationRef) ([]*unstructured.Unstructured, origin, error) {
	packed, err := b.packed(ctx, path, ref)
	if err != nil || packed == nil {
		return nil, origin{}, err
	}
	source := packed.source
	from := originOf(source, ref.Tier)
	text, err := b.build(ctx, path, packed, ref)
	if err != nil {
		return nil, from, err
	}
	values, secretValues, err := b.kustomizationValues(ctx, path, ref)
	if err != nil {
		return nil, from, err
	}
	source.Private = source.Private || secretValues || b.private
	from.Private = source.Private
	source.Data = map[string][]byte{kustomizationKey: text}
	source.Annotations = nil
	if len(values) > 0 {
		// Templates in it see the values, and nothing of the cluster.
		source.Annotations = map[string]string{render.AnnotationTemplate: ""}
	}
	objects, err := b.renderer.Objects(ctx, source, values)
	if err != nil {
		return nil, from, err
	}
	secret := source.Private || source.Kind == configv1beta1.SourceKindSecret
	if objects, err = b.changes.Apply(inNamespace(objects, ref.TargetNamespace), secret); err != nil {
		return nil, from, err
	}
	return objects, from, render.CheckDistinct(objects)
}

// packedFiles are the files of a kustomization, and the source that errors name.
type packedFiles struct {
	source render.Source
	files  map[string][]byte
	digest string
}

// broken says what is wrong with the files.
func (p *packedFiles) broken(err error) error {
	if p.source.Private || p.source.Kind == configv1beta1.SourceKindSecret {
		err = render.WithoutContent(err)
	}
	return &render.SourceError{Kind: p.source.Kind, Namespace: p.source.Namespace, Name: p.source.Name, Err: err}
}

// packed reads the object or fetches the URL that a reference names, and unpacks it; nil
// if that is optional and missing.
func (b *requestBuilder) packed(ctx context.Context, path string, ref *configv1beta1.KustomizationRef) (*packedFiles, error) {
	if ref.RemoteURL != nil {
		fetched, err := b.remote(ctx, remoteOf(ref.RemoteURL), ref.Optional)
		if err != nil || fetched == nil {
			return nil, err
		}
		files, err := fetched.files()
		return &packedFiles{source: fetched.source, files: files, digest: fetched.Digest}, err
	}
	if flux.IsKind(ref.Kind) {
		return b.fluxPacked(ctx, path, ref)
	}
	source, err := b.fetch(ctx, reference{path: path, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional})
	if err != nil || source == nil {
		return nil, err
	}
	out := &packedFiles{source: *source}
	if err := source.CheckText(); err != nil {
		return nil, &render.SourceError{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name, Err: err}
	}
	data, found := source.Data[kustomizationKey]
	if !found {
		return nil, out.broken(errNoKustomization)
	}
	if out.files, err = archive.Untar(data); err != nil {
		return nil, out.broken(err)
	}
	sum := sha256.Sum256(data)
	out.digest = hex.EncodeToString(sum[:])
	return out, nil
}

// errNoKustomization says what a source of a kustomization has to hold.
var errNoKustomization = &kustomize.Error{What: "has no key " + kustomizationKey + " with the kustomization as a compressed tar archive"}

func remoteOf(in *configv1beta1.KustomizationRemoteURL) configv1beta1.RemoteURL {
	return configv1beta1.RemoteURL{
		URL: in.URL, Interval: in.Interval, SecretRef: in.SecretRef,
		InsecureSkipTLSVerify: in.InsecureSkipTLSVerify, PlainHTTP: in.PlainHTTP,
	}
}

// build builds a kustomization.
func (b *requestBuilder) build(ctx context.Context, path string, packed *packedFiles, ref *configv1beta1.KustomizationRef) ([]byte, error) {
	request := kustomize.Request{Files: packed.files, Digest: packed.digest}
	var err error
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
		return nil, packed.broken(err)
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
