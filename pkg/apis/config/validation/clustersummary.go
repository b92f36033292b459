// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

var (
	clusterTypes = []lib.ClusterType{lib.ClusterTypeSveltos}
	causeKinds   = []config.MatchCauseKind{
		config.MatchCauseClusterSet, config.MatchCauseSet, config.MatchCauseSelector, config.MatchCauseReference,
		config.MatchCauseDependant,
	}
	featureIDs = []lib.FeatureID{lib.FeatureResources, lib.FeatureHelm, lib.FeatureKustomize}
)

// ValidateClusterSummary checks a summary that is being created. The profile in it
// has been checked with the profile that it is a copy of.
func ValidateClusterSummary(summary *config.ClusterSummary) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&summary.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	return append(errs, validateSummary(summary)...)
}

// ValidateClusterSummaryUpdate checks a summary that is being changed. Its cluster
// cannot change.
func ValidateClusterSummaryUpdate(summary, old *config.ClusterSummary) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&summary.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	path := field.NewPath("spec")
	errs = append(errs, apivalidation.ValidateImmutableField(summary.Spec.ClusterNamespace, old.Spec.ClusterNamespace, path.Child("clusterNamespace"))...)
	errs = append(errs, apivalidation.ValidateImmutableField(summary.Spec.ClusterName, old.Spec.ClusterName, path.Child("clusterName"))...)
	errs = append(errs, apivalidation.ValidateImmutableField(summary.Spec.ClusterType, old.Spec.ClusterType, path.Child("clusterType"))...)
	return append(errs, libvalidation.Ratchet(validateSummary(summary), validateSummary(old))...)
}

// ValidateClusterSummaryStatusUpdate checks a summary whose status is being changed.
func ValidateClusterSummaryStatusUpdate(summary, old *config.ClusterSummary) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&summary.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, libvalidation.Ratchet(validateSummaryStatus(&summary.Status), validateSummaryStatus(&old.Status))...)
}

func validateSummary(summary *config.ClusterSummary) field.ErrorList {
	var errs field.ErrorList
	spec, path := &summary.Spec, field.NewPath("spec")
	if spec.ClusterNamespace == "" {
		errs = append(errs, field.Required(path.Child("clusterNamespace"), "the namespace of the cluster"))
	} else if spec.ClusterNamespace != summary.Namespace {
		errs = append(errs, field.Invalid(path.Child("clusterNamespace"), spec.ClusterNamespace, "has to be the namespace of this object"))
	}
	if spec.ClusterName == "" {
		errs = append(errs, field.Required(path.Child("clusterName"), "the name of the cluster"))
	}
	errs = append(errs, oneOf(spec.ClusterType, clusterTypes, clusterTypes, path.Child("clusterType"))...)
	for i, cause := range spec.MatchedBy {
		errs = append(errs, validateCause(cause, path.Child("matchedBy").Index(i))...)
	}
	return errs
}

func validateCause(cause config.MatchCause, path *field.Path) field.ErrorList {
	errs := oneOf(cause.Kind, causeKinds, causeKinds, path.Child("kind"))
	if isSet := cause.Kind == config.MatchCauseClusterSet || cause.Kind == config.MatchCauseSet; isSet && cause.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "the name of the set"))
	}
	return errs
}

func validateSummaryStatus(status *config.ClusterSummaryStatus) field.ErrorList {
	path := field.NewPath("status")
	errs := libvalidation.ValidateConditions(status.Conditions, path.Child("conditions"))
	seen := make(map[lib.FeatureID]bool, len(status.FeatureSummaries))
	for i, feature := range status.FeatureSummaries {
		child := path.Child("featureSummaries").Index(i).Child("featureID")
		errs = append(errs, oneOf(feature.FeatureID, featureIDs, featureIDs, child)...)
		if seen[feature.FeatureID] {
			errs = append(errs, field.Duplicate(child, feature.FeatureID))
		}
		seen[feature.FeatureID] = true
	}
	return errs
}
