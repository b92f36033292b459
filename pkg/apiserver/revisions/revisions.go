// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package revisions gives the stored specs of profiles in their internal form,
// in which the API server shows them in ClusterSummaries.
package revisions

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/utils/lru"

	configapi "github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/registry/config/clustersummary"
)

// remembered is how many converted specs are remembered. A fleet has about
// one for each profile.
const remembered = 1024

// Source is where revisions are kept.
type Source interface {
	Get(ctx context.Context, name string) (revision.Revision, error)
}

// Cache gives the specs of revisions in their internal form.
type Cache struct {
	source    Source
	converted *lru.Cache
}

var _ clustersummary.Revisions = &Cache{}

// New returns a cache of the revisions of source.
func New(source Source) *Cache {
	return &Cache{source: source, converted: lru.New(remembered)}
}

// Get returns the spec of a revision, which is shared and must not be changed.
// A revision never changes, and so neither does what is remembered of it; that
// there is none is not remembered.
func (c *Cache) Get(ctx context.Context, name string) (*configapi.ProfileSpec, error) {
	if known, ok := c.converted.Get(name); ok {
		return known.(*configapi.ProfileSpec), nil
	}
	found, err := c.source.Get(ctx, name)
	switch {
	case errors.Is(err, revision.ErrNotFound):
		return nil, clustersummary.LostError{Err: fmt.Errorf("revision %s of the profile does not exist", name)}
	case errors.Is(err, revision.ErrDamaged):
		return nil, clustersummary.LostError{Err: err}
	case err != nil:
		return nil, err
	}
	spec, err := internalSpec(found.Spec)
	if err != nil {
		return nil, clustersummary.LostError{Err: fmt.Errorf("revision %s of the profile: %w", name, err)}
	}
	c.converted.Add(name, spec)
	return spec, nil
}

// internalSpec converts a spec as part of a summary, where defaulting has to
// give it the form that a reader who writes it back will give it.
func internalSpec(spec *v1beta1.ProfileSpec) (*configapi.ProfileSpec, error) {
	summary := &v1beta1.ClusterSummary{}
	summary.Spec.ClusterProfileSpec = *spec.DeepCopy()
	scheme.Scheme.Default(summary)
	internal := &configapi.ClusterSummary{}
	if err := scheme.Scheme.Convert(summary, internal, nil); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	return &internal.Spec.ClusterProfileSpec, nil
}
