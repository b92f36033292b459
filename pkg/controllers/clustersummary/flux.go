// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/flux"
)

// errNoFlux is said of a kind of Flux's that the host does not know. It is looked for
// again until it does.
var errNoFlux = errors.New("the host cluster has no such kind; Flux's source-controller is not installed there, or serves neither v1 nor v1beta2")

// fluxFiles are files of a source of Flux, and the source that errors name.
type fluxFiles struct {
	source render.Source
	// digest is that of the artifact that the files are in, and read when it was read.
	digest string
	read   time.Time
	files  map[string][]byte
}

// broken says what is wrong with the files.
func (f *fluxFiles) broken(err error) error {
	return &render.SourceError{Kind: f.source.Kind, Namespace: f.source.Namespace, Name: f.source.Name, Err: err}
}

// fluxSource reads a source of Flux and fetches its artifact, or gives what the revision has
// pinned of it: the files below a directory. It is nil if the source is optional and missing.
// One that is there and has no artifact is an error in any case.
func (b *requestBuilder) fluxSource(ctx context.Context, ref reference, directory string) (*fluxFiles, error) {
	name, err := b.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	if kept, restored, err := b.fluxKept(ctx, ref.kind, name, directory); restored {
		return kept, err
	}
	found, err := b.fluxArtifact(ctx, ref.kind, name)
	if ref.optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return b.fluxPart(found, directory)
}

// fluxPlace is the name in the history of a directory in a source.
func fluxPlace(name, directory string) string { return path.Join(name, path.Clean("/"+directory)) }

// fluxKept is what the revision has pinned of a directory in a source, and whether it has.
func (b *requestBuilder) fluxKept(ctx context.Context, kind string, name types.NamespacedName, directory string) (*fluxFiles, bool, error) {
	kept, restored, err := b.observed.restore(ctx, kind, name.Namespace, fluxPlace(name.Name, directory))
	if restored && err == nil {
		err = b.mayTenantRead(ctx, hostobjects.Want{Kind: flux.Versions(kind)[0], Namespace: name.Namespace, Name: name.Name})
	}
	if !restored || err != nil {
		return nil, restored, err
	}
	out := &fluxFiles{
		source: render.Source{Kind: kind, Namespace: name.Namespace, Name: name.Name, Annotations: kept.Annotations},
		digest: kept.Origin, files: make(map[string][]byte, len(kept.Blobs)),
	}
	for _, blob := range kept.Blobs {
		out.files[blob.Name] = blob.Data
	}
	return out, true, nil
}

// fluxPart are the files below a directory of those of an artifact, which are noted. Commits
// that leave a directory as it is are no news to who is deployed from there.
func (b *requestBuilder) fluxPart(found *fluxFiles, directory string) (*fluxFiles, error) {
	out := *found
	var err error
	if out.files, err = flux.At(found.files, directory); err != nil {
		return nil, found.broken(err)
	}
	content := history.Content{Annotations: history.Meaningful(found.source.Annotations)}
	place := fluxPlace(found.source.Name, directory)
	if place == found.source.Name {
		content.Origin = found.digest
	}
	for _, name := range slices.Sorted(maps.Keys(out.files)) {
		content.Blobs = append(content.Blobs, history.Blob{Name: name, Data: out.files[name]})
	}
	return &out, b.observed.note(found.source.Kind, found.source.Namespace, place, content, found.read)
}

// fluxArtifact are all files of a source.
func (b *requestBuilder) fluxArtifact(ctx context.Context, kind string, name types.NamespacedName) (*fluxFiles, error) {
	began := b.observed.began()
	object, err := b.fluxObject(ctx, kind, name)
	if err != nil {
		return nil, sourceError(kind, name, err)
	}
	out := &fluxFiles{
		source: render.Source{Kind: kind, Namespace: name.Namespace, Name: name.Name, Annotations: object.GetAnnotations()},
		read:   began,
	}
	if err := out.source.Check(); err != nil {
		return nil, out.broken(err)
	}
	artifact, err := flux.ArtifactOf(object)
	if err != nil {
		return nil, sourceError(kind, name, err)
	}
	out.digest = artifact.Digest
	out.files, err = b.artifacts.Files(ctx, artifact)
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
	directory, err := b.renderer.String(ctx, at+".path", ref.Path, b.data)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	found, err := b.fluxSource(ctx, reference{path: at, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional}, directory)
	if err != nil || found == nil {
		return nil, err
	}
	found.source.Data = map[string][]byte{}
	for name, data := range found.files {
		if isManifest(name) || len(found.files) == 1 && path.Base(directory) == name {
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
	// All of them: a kustomization may refer to others beside it.
	found, err := b.fluxSource(ctx, reference{path: at, kind: ref.Kind, namespace: ref.Namespace, name: ref.Name, optional: ref.Optional}, "")
	if err != nil || found == nil {
		return nil, err
	}
	return &packedFiles{source: found.source, files: found.files, digest: found.digest}, nil
}
