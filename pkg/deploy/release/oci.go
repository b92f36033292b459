// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v3/pkg/registry"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	// manifestLimit bounds a manifest, in bytes.
	manifestLimit = 4 << 20
	// tagPages bounds how many pages of tags a registry may make us read.
	tagPages = 100
)

// downloadOCI downloads from a registry, as nobody in particular. raw is the
// oci URL of the chart without its tag.
func (r *repository) downloadOCI(ctx context.Context, raw, version string) (key string, archive []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.FetchTimeout)
	defer cancel()
	repo, err := r.open(raw)
	if err != nil {
		return "", nil, err
	}
	tag, err := pickTag(ctx, repo, version)
	if err != nil {
		return "", nil, ociFault(raw, err)
	}
	layer, err := chartLayer(ctx, repo, tag)
	if err != nil {
		return "", nil, ociFault(raw, err)
	}
	if archive, ok := r.archives.Get(layer.Digest.String()); ok {
		return layer.Digest.String(), archive, nil
	}
	if layer.Size > r.options.FetchLimit {
		return "", nil, faultf(Invalid, "the chart has %d bytes, at most %d are fetched", layer.Size, r.options.FetchLimit)
	}
	if archive, err = content.FetchAll(ctx, repo, layer); err != nil {
		return "", nil, ociFault(raw, err)
	}
	return layer.Digest.String(), archive, nil
}

// open returns the client for a repository of a registry, or of its mirror.
func (r *repository) open(raw string) (*remote.Repository, error) {
	target, err := r.mirrored(raw)
	if err != nil {
		return nil, err
	}
	repo, err := remote.NewRepository(target.Host + strings.TrimSuffix(target.Path, "/"))
	if err != nil {
		return nil, faultf(Invalid, "%s is not a repository of a registry: %w", RedactURL(raw), err)
	}
	switch target.Scheme {
	case "http":
		repo.PlainHTTP = true
	case "https", "oci":
	default:
		return nil, faultf(Invalid, "the mirror of %s has to be an oci, http or https URL", RedactURL(raw))
	}
	// Public registries too hand out tokens: anonymous ones.
	repo.Client = &auth.Client{Client: r.fetch.client, Cache: auth.NewCache(), Header: map[string][]string{"User-Agent": {"muster"}}}
	repo.TagListMaxPages = tagPages
	return repo, nil
}

// pickTag returns the tag that a version means. Tags can't hold a plus sign,
// Helm writes an underscore for it.
func pickTag(ctx context.Context, repo *remote.Repository, version string) (string, error) {
	if isVersion(version) {
		for _, same := range []string{version, toggleV(version)} {
			tag := strings.ReplaceAll(same, "+", "_")
			_, err := repo.Resolve(ctx, tag)
			if err == nil || !errors.Is(err, errdef.ErrNotFound) {
				return tag, err
			}
		}
		return "", faultf(NotFound, "the registry has no version %s", version)
	}
	var available []string
	err := repo.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			available = append(available, strings.ReplaceAll(tag, "_", "+"))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	picked, err := pickVersion(version, available)
	return strings.ReplaceAll(picked, "+", "_"), err
}

// chartLayer returns where a tag's chart archive is.
func chartLayer(ctx context.Context, repo *remote.Repository, tag string) (ocispec.Descriptor, error) {
	descriptor, err := repo.Resolve(ctx, tag)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if descriptor.Size > manifestLimit {
		return ocispec.Descriptor{}, faultf(Invalid, "the manifest has %d bytes, at most %d are read", descriptor.Size, manifestLimit)
	}
	data, err := content.FetchAll(ctx, repo, descriptor)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return ocispec.Descriptor{}, faultf(Invalid, "the manifest of tag %s is no JSON", tag)
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType == registry.ChartLayerMediaType || layer.MediaType == registry.LegacyChartLayerMediaType {
			return layer, nil
		}
	}
	return ocispec.Descriptor{}, faultf(Invalid, "tag %s holds no Helm chart", tag)
}

// ociFault makes a fault of an error of the registry client.
func ociFault(raw string, err error) error {
	var known *fault
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, errdef.ErrNotFound):
		return faultf(NotFound, "%s: %w", RedactURL(raw), err)
	case errors.Is(err, errdef.ErrInvalidReference):
		return faultf(Invalid, "%s: %w", RedactURL(raw), err)
	}
	return unreachable(raw, err)
}
