// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/flux"
	"github.com/muster-project/muster/pkg/render/kustomize"
	"github.com/muster-project/muster/pkg/render/remote"
)

// requestBuilder renders what a profile wants on a cluster.
type requestBuilder struct {
	// host reads ConfigMaps and Secrets, not through a cache.
	host     client.Reader
	renderer *render.Renderer
	// kustomizations builds kustomizationRefs.
	kustomizations *kustomize.Builder
	// fetcher fetches what is named by a URL, and due is when the first of that
	// has to be fetched again, zero if nothing has.
	fetcher *remote.Fetcher
	due     time.Time
	now     func() time.Time
	// artifacts are those of Flux's sources.
	artifacts *flux.Store
	// observed notes what is read, for the history.
	observed *observation
	// reads is told of each source before it is read.
	reads func(sourceRef)
	// data is what templates see.
	data map[string]any
	// namespace is the cluster's, which references without one mean.
	namespace string
	// changes are made to everything that is rendered.
	changes *render.Changes
	// continueOnError goes on behind a reference that fails.
	continueOnError bool
	// local are the objects that go to the host instead, by list.
	local map[deploy.Feature][]deploy.Object
	// tenant is the namespace that a Profile may read from, empty for a
	// ClusterProfile, which may read from all.
	tenant string
	// hostObjects reads templateResourceRefs for reader, the summary. private says that
	// Secrets are among them, and secrets are what these hold.
	hostObjects objectReader
	reader      types.NamespacedName
	private     bool
	secrets     []string
	// asTenant says that host reads as a tenant, who has to be allowed to read what
	// hostObjects, which reads as Muster, is asked for.
	asTenant bool
}

// templateData is what templates see of a cluster: the whole object, except for
// what only the API server cares about.
func templateData(cluster *libv1beta1.SveltosCluster) (map[string]any, error) {
	stripped := cluster.DeepCopy()
	stripped.ManagedFields = nil
	stripped.TypeMeta = metav1.TypeMeta{APIVersion: libv1beta1.SchemeGroupVersion.String(), Kind: libv1beta1.KindSveltosCluster}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(stripped)
	if err != nil {
		return nil, fmt.Errorf("preparing SveltosCluster %s/%s for templates: %w", cluster.Namespace, cluster.Name, err)
	}
	return render.TemplateData(object), nil
}

// fingerprint says what a job would deploy, sources aside: the revision, and
// those parts of the cluster that a person or its upgrade changes. Its health is
// no part: a cluster that comes and goes is not deployed to again each time.
func fingerprint(summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (string, error) {
	encoded, err := json.Marshal([]any{
		summary.Spec.ProfileRevision, summary.Spec.Withdraw, cluster.UID, cluster.Status.ClusterID,
		cluster.Labels, cluster.Annotations, cluster.Spec, cluster.Status.Version, summary.Spec.ServiceAccount,
	})
	if err != nil {
		return "", fmt.Errorf("encoding the state of SveltosCluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}

// request is all that a profile wants on a cluster.
func (b *requestBuilder) request(ctx context.Context, owner inventory.Owner, summary, revision string, spec *configv1beta1.ProfileSpec) deploy.Request {
	request := deploy.Request{
		Owner: owner, Summary: summary, Revision: revision,
		ContinueOnError: spec.ContinueOnError, ContinueOnConflict: spec.ContinueOnConflict,
	}
	b.continueOnError = spec.ContinueOnError
	request.FeatureOrder = featureOrder(spec.FeatureOrder)
	if spec.TransitionFrom != "" {
		request.Predecessor = inventory.OwnerKey{Kind: owner.Kind, Namespace: owner.Namespace, Name: spec.TransitionFrom}
	}
	if err := b.resources(ctx, spec.TemplateResourceRefs); err != nil {
		return unchanged(request, spec, err)
	}
	var err error
	if b.changes, err = b.newChanges(ctx, spec); err != nil {
		return unchanged(request, spec, err)
	}
	if request.Excluded, err = exclusions(spec); err != nil {
		return unchanged(request, spec, err)
	}
	if len(spec.PolicyRefs) > 0 {
		request.Objects = append(request.Objects, b.objects(ctx, spec.PolicyRefs))
	}
	if len(spec.KustomizationRefs) > 0 {
		request.Objects = append(request.Objects, b.kustomized(ctx, spec.KustomizationRefs))
	}
	request.Charts = b.charts(ctx, spec.HelmCharts)
	return request
}

// unchanged is the request of a profile whose patches, or resources for templates, are
// broken: each of its lists fails with that, before its first element.
func unchanged(request deploy.Request, spec *configv1beta1.ProfileSpec, err error) deploy.Request {
	if len(spec.PolicyRefs) > 0 {
		request.Objects = append(request.Objects, deploy.ObjectList{Feature: deploy.Resources, Err: err})
	}
	if len(spec.KustomizationRefs) > 0 {
		request.Objects = append(request.Objects, deploy.ObjectList{Feature: deploy.Kustomize, Err: err})
	}
	if len(spec.HelmCharts) > 0 {
		request.Charts.Err = err
	}
	return request
}
