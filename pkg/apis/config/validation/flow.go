// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"regexp"
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

// maxDependencies bounds what one profile depends on.
const maxDependencies = 100

// maxUpdate is upstream's rule for what is written as a string.
var maxUpdate = regexp.MustCompile(`^((100|[0-9]{1,2})%|[0-9]{1,9})$`)

// validateFlow checks what says when a profile is deployed.
func validateFlow(spec *config.ProfileSpec, namespace string, path *field.Path) field.ErrorList {
	errs := validateMaxUpdate(spec.MaxUpdate, path.Child("maxUpdate"))
	errs = append(errs, libvalidation.ValidateHealths(spec.PreDeployChecks, namespace, path.Child("preDeployChecks"))...)
	errs = append(errs, libvalidation.ValidateHealths(spec.ValidateHealths, namespace, path.Child("validateHealths"))...)
	errs = append(errs, libvalidation.ValidateHealths(spec.PreDeleteChecks, namespace, path.Child("preDeleteChecks"))...)
	return append(errs, libvalidation.ValidateHealths(spec.PostDeleteChecks, namespace, path.Child("postDeleteChecks"))...)
}

func validateMaxUpdate(value *intstr.IntOrString, path *field.Path) field.ErrorList {
	switch {
	case value == nil:
	case value.Type == intstr.Int && value.IntVal < 0:
		return field.ErrorList{field.Invalid(path, value.IntVal, apivalidation.IsNegativeErrorMsg)}
	case value.Type == intstr.String && !maxUpdate.MatchString(value.StrVal):
		return field.ErrorList{field.Invalid(path, value.StrVal, "has to be a number of clusters, or a percentage of them from 0% to 100%")}
	}
	return nil
}

// validateDependsOn checks the names of profiles that one depends on. Whether they form a
// cycle is known where the others can be read.
func validateDependsOn(names []string, own string, path *field.Path) field.ErrorList {
	if len(names) > maxDependencies {
		return field.ErrorList{field.TooMany(path, len(names), maxDependencies)}
	}
	var errs field.ErrorList
	for i, name := range names {
		switch {
		case name == "":
			errs = append(errs, field.Required(path.Index(i), "the name of a profile"))
		case name == own:
			errs = append(errs, field.Invalid(path.Index(i), name, "a profile cannot depend on itself"))
		case slices.Contains(names[:i], name):
			errs = append(errs, field.Duplicate(path.Index(i), name))
		default:
			errs = append(errs, libvalidation.Invalid(path.Index(i), name, apivalidation.NameIsDNSSubdomain(name, false))...)
		}
	}
	return errs
}
