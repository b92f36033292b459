// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package diff serves subresource diff of profiles: what applying a profile now would
// change. It stores nothing.
package diff

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/report"
)

// limit is how long a diff may take. An API server ends requests after a minute, and
// what was found out by then would be lost.
const limit = 50 * time.Second

// Differ finds out what applying a profile would change.
type Differ interface {
	// Diff looks at one cluster, or at all that the profile matches or has deployed
	// something to where it is nil. It ends with ctx, and then says of clusters that it
	// has not looked at that this is so. Its errors wrap report.ErrNoProfile or
	// report.ErrNoMatch, or are of Muster's own storage.
	Diff(ctx context.Context, profile inventory.OwnerKey, cluster *types.NamespacedName) ([]report.Report, error)
}

// REST serves the subresource of one kind of profile.
type REST struct {
	kind       string
	resource   schema.GroupResource
	namespaced bool
	differ     Differ
	rates      *Rates
}

var _ interface {
	rest.Storage
	rest.Scoper
	rest.GetterWithOptions
	rest.TableConvertor
} = &REST{}

// NewREST returns subresource diff of a kind of profile, which is served at resource.
// rates are shared by all kinds.
func NewREST(kind string, resource schema.GroupResource, namespaced bool, differ Differ, rates *Rates) *REST {
	return &REST{kind: kind, resource: resource, namespaced: namespaced, differ: differ, rates: rates}
}

// New returns an empty Diff.
func (r *REST) New() runtime.Object { return &config.Diff{} }

// Destroy has nothing to end.
func (r *REST) Destroy() {}

// NamespaceScoped says whether the profiles live in namespaces.
func (r *REST) NamespaceScoped() bool { return r.namespaced }

// NewGetOptions returns the parameters; there is no path below the subresource.
func (r *REST) NewGetOptions() (options runtime.Object, subpath bool, parameter string) {
	return &config.DiffOptions{}, false, ""
}

// Get finds out what applying a profile would change.
func (r *REST) Get(ctx context.Context, name string, options runtime.Object) (runtime.Object, error) {
	parameters, ok := options.(*config.DiffOptions)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("options of a diff are %T", options))
	}
	cluster, err := parseCluster(parameters.Cluster)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	requester, _ := request.UserFrom(ctx)
	leave, wait := r.rates.enter(requester)
	if leave == nil {
		return nil, apierrors.NewTooManyRequests("a diff asks managed clusters for each object: too many are asked for at once, ask again later", wait)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	namespace := request.NamespaceValue(ctx)
	diffs, err := r.differ.Diff(ctx, inventory.OwnerKey{Kind: r.kind, Namespace: namespace, Name: name}, cluster)
	switch {
	case errors.Is(err, report.ErrNoProfile):
		return nil, apierrors.NewNotFound(r.resource, name)
	case errors.Is(err, report.ErrNoMatch):
		return nil, apierrors.NewBadRequest(fmt.Sprintf("cluster %s: %v", parameters.Cluster, report.ErrNoMatch))
	case err != nil:
		return nil, apierrors.NewInternalError(fmt.Errorf("diff of %s: %w", name, err))
	}
	return newDiff(namespace, name, diffs), nil
}

func parseCluster(text string) (*types.NamespacedName, error) {
	if text == "" {
		return nil, nil
	}
	namespace, name, found := strings.Cut(text, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("cluster: %q has to be namespace/name", text)
	}
	return &types.NamespacedName{Namespace: namespace, Name: name}, nil
}

func newDiff(namespace, name string, diffs []report.Report) *config.Diff {
	out := &config.Diff{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Clusters:   make([]config.ClusterDiff, 0, len(diffs)),
	}
	for i := range diffs {
		out.Clusters = append(out.Clusters, clusterDiff(&diffs[i]))
	}
	return out
}
