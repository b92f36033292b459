// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/validation"
	"github.com/muster-project/muster/pkg/registry"
)

// kind is the policy for ClusterSummaries as far as it is that of every kind.
var kind = registry.Kind[*config.ClusterSummary]{
	Group:      config.GroupName,
	Namespaced: true,

	Spec:        storedSpec,
	Status:      func(s *config.ClusterSummary) any { return &s.Status },
	CopySpec:    func(to, from *config.ClusterSummary) { to.Spec = from.Spec },
	CopyStatus:  func(to, from *config.ClusterSummary) { to.Status = from.Status },
	ClearStatus: func(s *config.ClusterSummary) { s.Status = config.ClusterSummaryStatus{} },

	Validate:       validation.ValidateClusterSummary,
	ValidateUpdate: validation.ValidateClusterSummaryUpdate,
	ValidateStatus: validation.ValidateClusterSummaryStatusUpdate,
}

// storedSpec is the spec without the profile's, which is the revision's.
func storedSpec(summary *config.ClusterSummary) any {
	spec := summary.Spec
	spec.ClusterProfileSpec = config.ProfileSpec{}
	return &spec
}

// strategy is the policy for everything but the status. Only the server itself
// writes specs. Users may change metadata, and delete: what they delete is made
// again, and nothing is withdrawn.
type strategy struct {
	registry.Strategy[*config.ClusterSummary]

	revisions Revisions
}

var _ interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
	rest.ResetFieldsStrategy
} = strategy{}

const (
	madeByMuster    = "ClusterSummaries are made by Muster, for every profile and cluster that match; create a ClusterProfile or a Profile"
	writtenByMuster = "is written by Muster alone; change the profile that this summary belongs to"
)

// Validate refuses summaries of anybody but the server.
func (s strategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	if !isServer(ctx) {
		return field.ErrorList{field.Forbidden(field.NewPath("spec"), madeByMuster)}
	}
	return s.Strategy.Validate(ctx, obj)
}

// ValidateUpdate refuses specs of anybody but the server. The profile's spec in
// what a user read may be in what they write, though it is not stored.
func (s strategy) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	if !isServer(ctx) {
		if errs := s.refuseSpec(ctx, obj.(*config.ClusterSummary), old.(*config.ClusterSummary)); len(errs) > 0 {
			return errs
		}
	}
	return s.Strategy.ValidateUpdate(ctx, obj, old)
}

func (s strategy) refuseSpec(ctx context.Context, summary, old *config.ClusterSummary) field.ErrorList {
	path := field.NewPath("spec")
	if !apiequality.Semantic.DeepEqual(storedSpec(summary), storedSpec(old)) {
		return field.ErrorList{field.Forbidden(path, writtenByMuster)}
	}
	given := &summary.Spec.ClusterProfileSpec
	// What is stored has no profile in it: after defaulting this is how none
	// looks like.
	if sameProfile(given, &old.Spec.ClusterProfileSpec) {
		return nil
	}
	if shown, err := s.revisions.Get(ctx, old.Spec.ProfileRevision); err == nil && sameProfile(given, shown) {
		return nil
	}
	return field.ErrorList{field.Forbidden(path.Child("clusterProfileSpec"), writtenByMuster)}
}

// sameProfile compares what two specs mean: a selector that was read and
// written at another version may come back in another form.
func sameProfile(a, b *config.ProfileSpec) bool {
	if a.ClusterSelector.String() != b.ClusterSelector.String() {
		return false
	}
	left, right := *a, *b
	left.ClusterSelector, right.ClusterSelector = b.ClusterSelector, b.ClusterSelector
	return apiequality.Semantic.DeepEqual(&left, &right)
}

// Canonicalize leaves the profile's spec out of what is stored.
func (strategy) Canonicalize(obj runtime.Object) {
	obj.(*config.ClusterSummary).Spec.ClusterProfileSpec = config.ProfileSpec{}
}

// GetResetFields is the status, and what is never stored.
func (strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return registry.ResetFields(config.GroupName,
		fieldpath.MakePathOrDie("status"),
		fieldpath.MakePathOrDie("spec", "clusterProfileSpec"),
	)
}

// statusStrategy is the policy for the status.
type statusStrategy struct {
	registry.StatusStrategy[*config.ClusterSummary]
}

// Canonicalize leaves the profile's spec out of what is stored.
func (statusStrategy) Canonicalize(obj runtime.Object) {
	obj.(*config.ClusterSummary).Spec.ClusterProfileSpec = config.ProfileSpec{}
}

// isServer reports whether a request is this server's own, through its loopback
// connection, whose token never leaves the process. Somebody whom the host lets
// impersonate that user is an administrator of everything, and passes too.
func isServer(ctx context.Context) bool {
	requester, ok := request.UserFrom(ctx)
	return ok && requester.GetName() == user.APIServerUser
}
