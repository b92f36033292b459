// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"path"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/flux"
)

// errNoFlux is said of a kind of Flux's that the host does not know. It is looked for
// again until it does.
var errNoFlux = errors.New("the host cluster has no such kind; Flux's source-controller is not installed there, or serves neither v1 nor v1beta2")

// fluxFiles are the files of a source of Flux, and the source that errors name.
type fluxFiles struct {
	source   render.Source
	artifact flux.Artifact
	files    map[string][]byte
}

// broken says what is wrong with the files.
func (f *fluxFiles) broken(err error) error {
	return &render.SourceError{Kind: f.source.Kind, Namespace: f.source.Namespace, Name: f.source.Name, Err: err}
}

// fluxSource reads a source of Flux and fetches its artifact, nil if the source is
// optional and missing. One that is there and has no artifact is an error in any case.
func (b *requestBuilder) fluxSource(ctx context.Context, ref reference) (*fluxFiles, error) {
	name, err := b.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	found, err := b.fluxNamed(ctx, ref.kind, name)
	if ref.optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

// fluxNamed is fluxSource for a name that is no template.
func (b *requestBuilder) fluxNamed(ctx context.Context, kind string, name types.NamespacedName) (*fluxFiles, error) {
	object, err := b.fluxObject(ctx, kind, name)
	if err != nil {
		return nil, sourceError(kind, name, err)
	}
	out := &fluxFiles{source: render.Source{Kind: kind, Namespace: name.Namespace, Name: name.Name, Annotations: object.GetAnnotations()}}
	if err := out.source.Check(); err != nil {
		return nil, out.broken(err)
	}
	if out.artifact, err = flux.ArtifactOf(object); err != nil {
		return nil, sourceError(kind, name, err)
	}
	out.files, err = b.artifacts.Files(ctx, out.artifact)
	if damaged := (*archive.Error)(nil); errors.As(err, &damaged) {
		return nil, out.broken(damaged)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return out, nil
}

// fluxObject reads an object of Flux in the version that the host serves.
func (b *requestBuilder) fluxObject(ctx context.Context, kind string, name types.NamespacedName) (*unstructured.Unstructured, error) {
	b.reads(sourceRef{kind: kind, NamespacedName: name})
	for _, version := range flux.Versions(kind) {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(version)
		err := b.host.Get(ctx, name, object)
		if meta.IsNoMatchError(err) {
			continue
		}
		return object, err
	}
	return nil, errNoFlux
}

// fluxManifests are the manifests below a path of a source of Flux, nil if that is
// optional and missing.
func (b *requestBuilder) fluxManifests(ctx context.Context, at string, ref configv1beta1.PolicyRef) (*render.Source, error) {
	found, err := b.fluxSource(ctx, reference{path: at, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional})
	if err != nil || found == nil {
		return nil, err
	}
	directory, err := b.renderer.String(ctx, at+".path", ref.Path, b.data)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	below, err := flux.At(found.files, directory)
	if err != nil {
		return nil, found.broken(err)
	}
	found.source.Data = map[string][]byte{}
	for name, data := range below {
		if isManifest(name) || len(below) == 1 && path.Base(directory) == name {
			found.source.Data[name] = data
		}
	}
	return &found.source, nil
}

// isManifest reports whether a file's name says that it is YAML or JSON.
func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// fluxPacked are the files of a kustomization in a source of Flux.
func (b *requestBuilder) fluxPacked(ctx context.Context, at string, ref *configv1beta1.KustomizationRef) (*packedFiles, error) {
	found, err := b.fluxSource(ctx, reference{path: at, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional})
	if err != nil || found == nil {
		return nil, err
	}
	return &packedFiles{source: found.source, files: found.files, digest: found.artifact.Digest}, nil
}
