// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// manySelected is the number of selected clusters up to which a status holds them
// without growing beyond what is good for etcd and for those who watch.
const manySelected = 5000

// ValidateClusterSet checks a set that is being created.
func ValidateClusterSet(set *lib.ClusterSet) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&set.ObjectMeta, false, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	return append(errs, validateSet(&set.ObjectMeta, &set.Spec)...)
}

// ValidateClusterSetUpdate checks a set that is being changed.
func ValidateClusterSetUpdate(set, old *lib.ClusterSet) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&set.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, Ratchet(validateSet(&set.ObjectMeta, &set.Spec), validateSet(&old.ObjectMeta, &old.Spec))...)
}

// ValidateClusterSetStatusUpdate checks a set whose status is being changed.
func ValidateClusterSetStatusUpdate(set, old *lib.ClusterSet) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&set.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, Ratchet(validateSetStatus(&set.Status), validateSetStatus(&old.Status))...)
}

// ValidateSet checks a set that is being created.
func ValidateSet(set *lib.Set) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&set.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	return append(errs, validateSet(&set.ObjectMeta, &set.Spec)...)
}

// ValidateSetUpdate checks a set that is being changed.
func ValidateSetUpdate(set, old *lib.Set) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&set.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, Ratchet(validateSet(&set.ObjectMeta, &set.Spec), validateSet(&old.ObjectMeta, &old.Spec))...)
}

// ValidateSetStatusUpdate checks a set whose status is being changed.
func ValidateSetStatusUpdate(set, old *lib.Set) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&set.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, Ratchet(validateSetStatus(&set.Status), validateSetStatus(&old.Status))...)
}

func validateSet(meta *metav1.ObjectMeta, spec *lib.ClusterSetSpec) field.ErrorList {
	errs := validateSwitch(meta, v1beta1.AnnotationIgnoreBrake)
	path := field.NewPath("spec")
	errs = append(errs, ValidateSelector(spec.ClusterSelector, path.Child("clusterSelector"))...)
	errs = append(errs, ValidateClusterRefs(spec.ClusterRefs, meta.Namespace, path.Child("clusterRefs"))...)
	if spec.MaxReplicas < 0 {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), spec.MaxReplicas, apivalidation.IsNegativeErrorMsg))
	}
	return errs
}

func validateSetStatus(status *lib.ClusterSetStatus) field.ErrorList {
	path := field.NewPath("status")
	errs := ValidateConditions(status.Conditions, path.Child("conditions"))
	if status.MatchingClusterCount < 0 {
		errs = append(errs, field.Invalid(path.Child("matchingClusterCount"), status.MatchingClusterCount, apivalidation.IsNegativeErrorMsg))
	}
	if status.SelectedClusterCount < 0 {
		errs = append(errs, field.Invalid(path.Child("selectedClusterCount"), status.SelectedClusterCount, apivalidation.IsNegativeErrorMsg))
	}
	return errs
}

// WarningsOnClusterSet says what is valid but hardly meant.
func WarningsOnClusterSet(set *lib.ClusterSet) []string { return warningsOnSet(&set.Spec) }

// WarningsOnSet says what is valid but hardly meant.
func WarningsOnSet(set *lib.Set) []string { return warningsOnSet(&set.Spec) }

func warningsOnSet(spec *lib.ClusterSetSpec) []string {
	var warnings []string
	switch {
	case spec.MaxReplicas == 0:
		warnings = append(warnings, "spec.maxReplicas: unset or 0 selects no cluster")
	case spec.MaxReplicas > manySelected:
		warnings = append(warnings, fmt.Sprintf("spec.maxReplicas: %d is more than %d; the status of the set becomes very large",
			spec.MaxReplicas, manySelected))
	}
	if spec.ClusterSelector.IsEmpty() && len(spec.ClusterRefs) == 0 {
		warnings = append(warnings, "spec.clusterSelector: an empty selector matches no cluster, and there are no clusterRefs")
	}
	return append(warnings, WarningsOnClusterRefs(spec.ClusterRefs, field.NewPath("spec", "clusterRefs"))...)
}
