// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

const (
	// manifestLimit bounds a manifest, in bytes, and maxLayers its layers.
	manifestLimit = 4 << 20
	maxLayers     = 100
	// defaultTag is the tag of a URL without one.
	defaultTag = "latest"
)

// pull downloads the layers of an artifact. The registry client compares all that it is
// given with the digest that it asked for.
func (f *Fetcher) pull(ctx context.Context, client *http.Client, target *url.URL, source Source, mirror *url.URL) ([]Blob, error) {
	repository, err := open(client, target, source, mirror)
	if err != nil {
		return nil, err
	}
	reference := repository.Reference.Reference
	if reference == "" {
		reference = defaultTag
	}
	descriptor, err := repository.Resolve(ctx, reference)
	if err != nil {
		return nil, registryFault(err)
	}
	if descriptor.Size > manifestLimit {
		return nil, faultf(Invalid, "its manifest has %d bytes, at most %d are read", descriptor.Size, manifestLimit)
	}
	data, err := content.FetchAll(ctx, repository, descriptor)
	if err != nil {
		return nil, registryFault(err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil || len(manifest.Layers) == 0 {
		return nil, faultf(Invalid, "its manifest is none of an artifact with layers")
	}
	return f.layers(ctx, repository, manifest.Layers)
}

func (f *Fetcher) layers(ctx context.Context, repository *remote.Repository, layers []ocispec.Descriptor) ([]Blob, error) {
	if len(layers) > maxLayers {
		return nil, faultf(Invalid, "it has %d layers, at most %d are read", len(layers), maxLayers)
	}
	left := f.options.Limit
	for _, layer := range layers {
		// One by one: their sum may not be a number any more.
		if layer.Size < 0 || layer.Size > left {
			return nil, faultf(Invalid, "it has more than %d bytes", f.options.Limit)
		}
		left -= layer.Size
	}
	var blobs []Blob
	for i, layer := range layers {
		data, err := content.FetchAll(ctx, repository, layer)
		if err != nil {
			return nil, registryFault(err)
		}
		name := layer.Annotations[ocispec.AnnotationTitle]
		if name == "" {
			name = "layer-" + strconv.Itoa(i+1)
		}
		blobs = append(blobs, Blob{Name: name, Data: data})
	}
	return blobs, nil
}

// open returns the client for a repository of a registry, or of its mirror.
func open(client *http.Client, target *url.URL, source Source, mirror *url.URL) (*remote.Repository, error) {
	repository, err := remote.NewRepository(target.Host + strings.TrimSuffix(target.Path, "/"))
	if err != nil {
		return nil, faultf(Invalid, "it names no repository of a registry: %w", err)
	}
	repository.PlainHTTP = source.PlainHTTP
	if mirror != nil {
		repository.PlainHTTP = mirror.Scheme == "http"
	}
	registry := &auth.Client{Client: client, Cache: auth.NewCache(), Header: http.Header{"User-Agent": {"muster"}}}
	if c := source.Credentials; c.Token != "" || c.Username != "" || c.Password != "" {
		registry.Credential = auth.StaticCredential(repository.Reference.Host(), auth.Credential{
			Username: c.Username, Password: c.Password, AccessToken: c.Token,
		})
	}
	repository.Client = registry
	return repository, nil
}

// registryFault makes a fault of an error of the registry client.
func registryFault(err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return faultf(NotFound, "the registry does not have it")
	case errors.Is(err, errdef.ErrInvalidReference), errors.Is(err, errdef.ErrInvalidDigest),
		errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData):
		return faultf(Invalid, "what the registry answers is not what it names: %w", err)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden),
		errors.Is(err, auth.ErrBasicCredentialNotFound):
		return faultf(Denied, "the registry does not give it to these credentials")
	}
	return failure(err)
}
