// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package validation says which objects of group config.projectsveltos.io are
// valid.
package validation

import (
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

const (
	// maxSetRefs, maxPolicyRefs and maxCharts bound what one profile names.
	maxSetRefs    = 500
	maxPolicyRefs = 1000
	maxCharts     = 500
)

var (
	syncModes = []config.SyncMode{
		config.SyncModeContinuous, config.SyncModeContinuousWithDriftDetection, config.SyncModeOneTime, config.SyncModeDryRun,
	}
	behaviors = []config.StopMatchingBehavior{config.WithdrawPolicies, config.LeavePolicies}
)

// ValidateClusterProfile checks a profile that is being created.
func ValidateClusterProfile(profile *config.ClusterProfile) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&profile.ObjectMeta, false, libvalidation.ValidateLabelledName, field.NewPath("metadata"))
	return append(errs, validateProfile(&profile.ObjectMeta, &profile.Spec)...)
}

// ValidateClusterProfileUpdate checks a profile that is being changed.
func ValidateClusterProfileUpdate(profile, old *config.ClusterProfile) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&profile.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, libvalidation.Ratchet(
		validateProfile(&profile.ObjectMeta, &profile.Spec), validateProfile(&old.ObjectMeta, &old.Spec))...)
}

// ValidateClusterProfileStatusUpdate checks a profile whose status is being changed.
func ValidateClusterProfileStatusUpdate(profile, old *config.ClusterProfile) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&profile.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, libvalidation.Ratchet(validateProfileStatus(&profile.Status), validateProfileStatus(&old.Status))...)
}

// ValidateProfile checks a profile that is being created.
func ValidateProfile(profile *config.Profile) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&profile.ObjectMeta, true, libvalidation.ValidateLabelledName, field.NewPath("metadata"))
	return append(errs, validateProfile(&profile.ObjectMeta, &profile.Spec)...)
}

// ValidateProfileUpdate checks a profile that is being changed.
func ValidateProfileUpdate(profile, old *config.Profile) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&profile.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, libvalidation.Ratchet(
		validateProfile(&profile.ObjectMeta, &profile.Spec), validateProfile(&old.ObjectMeta, &old.Spec))...)
}

// ValidateProfileStatusUpdate checks a profile whose status is being changed.
func ValidateProfileStatusUpdate(profile, old *config.Profile) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&profile.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, libvalidation.Ratchet(validateProfileStatus(&profile.Status), validateProfileStatus(&old.Status))...)
}

func validateProfile(meta *metav1.ObjectMeta, spec *config.ProfileSpec) field.ErrorList {
	errs := profileMetaTable.Validate(meta, field.NewPath("metadata"))
	errs = append(errs, validateTenant(meta)...)
	errs = append(errs, validateTransition(meta, spec)...)
	errs = append(errs, validateDependsOn(spec.DependsOn, meta.Name, field.NewPath("spec", "dependsOn"))...)
	errs = append(errs, validateContentsOf(meta)...)
	return append(errs, validateProfileSpec(spec, meta.Namespace, field.NewPath("spec"))...)
}

// validateProfileSpec checks the spec of a ClusterProfile, which has no namespace,
// or of a Profile, which refers to nothing outside its own.
func validateProfileSpec(spec *config.ProfileSpec, namespace string, path *field.Path) field.ErrorList {
	errs := libvalidation.ValidateSelector(spec.ClusterSelector, path.Child("clusterSelector"))
	errs = append(errs, libvalidation.ValidateClusterRefs(spec.ClusterRefs, namespace, path.Child("clusterRefs"))...)
	errs = append(errs, validateSetRefs(spec.SetRefs, path.Child("setRefs"))...)
	errs = append(errs, oneOf(spec.SyncMode, syncModes, syncModes, path.Child("syncMode"))...)
	errs = append(errs, oneOf(spec.StopMatchingBehavior, behaviors, behaviors, path.Child("stopMatchingBehavior"))...)
	if spec.Tier < 1 {
		errs = append(errs, field.Invalid(path.Child("tier"), spec.Tier, "has to be at least 1"))
	}
	errs = append(errs, validateResourceRefs(spec.TemplateResourceRefs, namespace, path.Child("templateResourceRefs"))...)
	errs = append(errs, validatePolicyRefs(spec.PolicyRefs, namespace, path.Child("policyRefs"))...)
	errs = append(errs, validateKustomizationRefs(spec.KustomizationRefs, namespace, path.Child("kustomizationRefs"))...)
	errs = append(errs, validatePatches(spec.Patches, path.Child("patches"))...)
	errs = append(errs, validateValuesFrom(spec.PatchesFrom, namespace, path.Child("patchesFrom"))...)
	errs = append(errs, validateExtra(spec, path)...)
	errs = append(errs, validateApplying(spec, path)...)
	errs = append(errs, validateFlow(spec, namespace, path)...)
	errs = append(errs, validateDriftExclusions(spec.DriftExclusions, path.Child("driftExclusions"))...)
	return append(errs, validateCharts(spec.HelmCharts, namespace, path.Child("helmCharts"))...)
}

func validateSetRefs(names []string, path *field.Path) field.ErrorList {
	if len(names) > maxSetRefs {
		return field.ErrorList{field.TooMany(path, len(names), maxSetRefs)}
	}
	var errs field.ErrorList
	for i, name := range names {
		switch {
		case name == "":
			errs = append(errs, field.Required(path.Index(i), "the name of a set"))
		case slices.Contains(names[:i], name):
			errs = append(errs, field.Duplicate(path.Index(i), name))
		default:
			errs = append(errs, libvalidation.Invalid(path.Index(i), name, apivalidation.NameIsDNSSubdomain(name, false))...)
		}
	}
	return errs
}

// oneOf refuses a value that nobody knows, and says which ones are obeyed.
func oneOf[T ~string](value T, known, obeyed []T, path *field.Path) field.ErrorList {
	if slices.Contains(known, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, obeyed)}
}

func validateProfileStatus(status *config.ProfileStatus) field.ErrorList {
	return libvalidation.ValidateConditions(status.Conditions, field.NewPath("status", "conditions"))
}

// WarningsOnClusterProfile says what is valid but hardly meant.
func WarningsOnClusterProfile(profile *config.ClusterProfile) []string {
	return warningsOnProfile(&profile.Spec)
}

// WarningsOnProfile says what is valid but hardly meant.
func WarningsOnProfile(profile *config.Profile) []string { return warningsOnProfile(&profile.Spec) }

func warningsOnProfile(spec *config.ProfileSpec) []string {
	path := field.NewPath("spec")
	var warnings []string
	if spec.ClusterSelector.IsEmpty() && len(spec.ClusterRefs) == 0 && len(spec.SetRefs) == 0 {
		warnings = append(warnings, "spec: no clusterSelector, clusterRefs or setRefs; the profile is deployed to no cluster")
	}
	if len(spec.PolicyRefs) == 0 && len(spec.HelmCharts) == 0 && len(spec.KustomizationRefs) == 0 {
		warnings = append(warnings, "spec: no policyRefs, helmCharts or kustomizationRefs; the profile deploys nothing")
	}
	warnings = append(warnings, warningsOnResourceRefs(spec.TemplateResourceRefs, path.Child("templateResourceRefs"))...)
	warnings = append(warnings, libvalidation.WarningsOnClusterRefs(spec.ClusterRefs, path.Child("clusterRefs"))...)
	return append(warnings, warningsOnCharts(spec.HelmCharts, path.Child("helmCharts"))...)
}
