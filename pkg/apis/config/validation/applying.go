// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"maps"
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

// validateApplying checks what a spec says of how its lists are applied.
func validateApplying(spec *config.ProfileSpec, path *field.Path) field.ErrorList {
	errs := validateFeatureOrder(spec.FeatureOrder, path.Child("featureOrder"))
	if most := spec.MaxConsecutiveFailures; most != nil && *most < 0 {
		errs = append(errs, field.Invalid(path.Child("maxConsecutiveFailures"), *most, "has to be at least 0, which means no limit"))
	}
	if spec.TransitionFrom != "" {
		errs = append(errs, libvalidation.Invalid(path.Child("transitionFrom"), spec.TransitionFrom,
			apivalidation.NameIsDNSSubdomain(spec.TransitionFrom, false))...)
	}
	return errs
}

func validateFeatureOrder(order []lib.FeatureID, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, feature := range order {
		if slices.Contains(order[:i], feature) {
			errs = append(errs, field.Duplicate(path.Index(i), feature))
			continue
		}
		errs = append(errs, oneOf(feature, featureIDs, featureIDs, path.Index(i))...)
	}
	return errs
}

// validateTransition refuses a profile that is its own predecessor.
func validateTransition(meta *metav1.ObjectMeta, spec *config.ProfileSpec) field.ErrorList {
	if spec.TransitionFrom == "" || spec.TransitionFrom != meta.Name {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "transitionFrom"), spec.TransitionFrom, "has to be another profile")}
}

// validateTenant checks the labels that name the ServiceAccount of a tenant. Half of a
// name must not pass for none: the profile would be deployed with all rights.
func validateTenant(meta *metav1.ObjectMeta) field.ErrorList {
	path := field.NewPath("metadata", "labels")
	rules := map[string]apivalidation.ValidateNameFunc{
		v1beta1.LabelServiceAccountName:      apivalidation.ValidateServiceAccountName,
		v1beta1.LabelServiceAccountNamespace: apivalidation.ValidateNamespaceName,
	}
	labelled := func(label string) bool { _, found := meta.Labels[label]; return found }
	if !slices.ContainsFunc(slices.Collect(maps.Keys(rules)), labelled) {
		return nil
	}
	var errs field.ErrorList
	for _, label := range slices.Sorted(maps.Keys(rules)) {
		if value := meta.Labels[label]; value == "" {
			errs = append(errs, field.Required(path.Key(label), "a tenant's ServiceAccount has both a name and a namespace"))
		} else {
			errs = append(errs, libvalidation.Invalid(path.Key(label), value, rules[label](value, false))...)
		}
	}
	return errs
}
