// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v3/pkg/registry"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

const (
	// manifestLimit bounds a manifest, in bytes.
	manifestLimit = 4 << 20
	// tagPages bounds how many pages of tags a registry may make us read.
	tagPages = 100
)

// downloadOCI downloads from a registry. raw is the oci URL of the chart without its tag.
func (v *visit) downloadOCI(ctx context.Context, raw, version string) (key string, archive []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.options.FetchTimeout)
	defer cancel()
	from, err := v.at(raw)
	if err != nil {
		return "", nil, err
	}
	repo, err := v.open(ctx, from)
	if err != nil {
		return "", nil, err
	}
	ctx = from.context(ctx)
	tag, err := pickTag(ctx, repo, version)
	if err != nil {
		return "", nil, ociFault(raw, err)
	}
	found, err := chartManifest(ctx, repo, tag)
	if err != nil {
		return "", nil, ociFault(raw, err)
	}
	layer, err := found.layer(registry.ChartLayerMediaType, registry.LegacyChartLayerMediaType)
	if err != nil {
		return "", nil, err
	}
	key = v.archiveKey(layer.Digest.String())
	archive, ok := v.archives.Get(key)
	if !ok {
		if archive, err = v.fetchLayer(ctx, repo, layer); err != nil {
			return "", nil, ociFault(raw, err)
		}
	}
	if err := v.checkPulled(ctx, repo, found, archive); err != nil {
		return "", nil, ociFault(raw, err)
	}
	return key, archive, nil
}

func (v *visit) fetchLayer(ctx context.Context, repo *remote.Repository, layer ocispec.Descriptor) ([]byte, error) {
	if layer.Size > v.options.FetchLimit {
		return nil, faultf(Invalid, "a layer of the chart has %d bytes, at most %d are fetched", layer.Size, v.options.FetchLimit)
	}
	return content.FetchAll(ctx, repo, layer)
}

// open returns the client for a repository of a registry, or of its mirror.
func (v *visit) open(ctx context.Context, from place) (*remote.Repository, error) {
	repo, err := remote.NewRepository(from.target.Host + strings.TrimSuffix(from.target.Path, "/"))
	if err != nil {
		return nil, faultf(Invalid, "%s is not a repository of a registry: %w", RedactURL(from.asked.String()), err)
	}
	switch from.target.Scheme {
	case "http":
		repo.PlainHTTP = true
	case "https", "oci":
		repo.PlainHTTP = !from.mirrored && v.access != nil && v.access.PlainHTTP
	default:
		return nil, faultf(Invalid, "the mirror of %s has to be an oci, http or https URL", RedactURL(from.asked.String()))
	}
	login, err := v.access.login(ctx, v.home, from)
	if err != nil {
		return nil, err
	}
	// Public registries too hand out tokens: anonymous ones.
	client := &auth.Client{Client: v.clientFor(from), Cache: auth.NewCache(), Header: map[string][]string{"User-Agent": {"muster"}}}
	if login != auth.EmptyCredential {
		client.Credential = auth.StaticCredential(repo.Reference.Host(), login)
	}
	repo.Client = client
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

// pulled is the manifest of a chart.
type pulled struct {
	descriptor ocispec.Descriptor
	tag        string
	manifest   ocispec.Manifest
}

// chartManifest returns what a tag is of.
func chartManifest(ctx context.Context, repo *remote.Repository, tag string) (pulled, error) {
	descriptor, err := repo.Resolve(ctx, tag)
	if err != nil {
		return pulled{}, err
	}
	manifest, err := fetchManifest(ctx, repo, descriptor)
	return pulled{descriptor: descriptor, tag: tag, manifest: manifest}, err
}

func fetchManifest(ctx context.Context, repo *remote.Repository, descriptor ocispec.Descriptor) (ocispec.Manifest, error) {
	var manifest ocispec.Manifest
	if descriptor.Size > manifestLimit {
		return manifest, faultf(Invalid, "the manifest has %d bytes, at most %d are read", descriptor.Size, manifestLimit)
	}
	data, err := content.FetchAll(ctx, repo, descriptor)
	if err != nil {
		return manifest, err
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return manifest, faultf(Invalid, "the manifest %s is no JSON", descriptor.Digest)
	}
	return manifest, nil
}

// layer returns the first layer of one of the media types.
func (p pulled) layer(mediaTypes ...string) (ocispec.Descriptor, error) {
	for _, layer := range p.manifest.Layers {
		if slices.Contains(mediaTypes, layer.MediaType) {
			return layer, nil
		}
	}
	return ocispec.Descriptor{}, faultf(Invalid, "tag %s holds no Helm chart", p.tag)
}

// ociFault makes a fault of an error of the registry client, which may quote the query of
// a URL that it was led to.
func ociFault(raw string, err error) error {
	var known *fault
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, errdef.ErrNotFound):
		return faultf(NotFound, "%s: the registry does not have it", RedactURL(raw))
	case errors.Is(err, errdef.ErrInvalidReference):
		return faultf(Invalid, "%s: %w", RedactURL(raw), err)
	case errors.Is(err, errdef.ErrInvalidDigest), errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData):
		return faultf(Invalid, "%s: what the registry answers is not what it names", RedactURL(raw))
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return faultf(Denied, "%s: the registry wants credentials", RedactURL(raw))
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return faultf(Denied, "%s: the registry does not give it to these credentials (%d)", RedactURL(raw), answer.StatusCode)
	case errors.As(err, &answer):
		return faultf(Unreachable, "%s: the registry answers %d", RedactURL(raw), answer.StatusCode)
	}
	return unreachable(raw, err)
}
