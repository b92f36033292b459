// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config"
)

// musterLabels is the prefix of labels that Muster sets on the records of releases.
const musterLabels = "muster.projectsveltos.io/"

var (
	// recordLabels are the labels by which Helm finds the record of a release.
	recordLabels = []string{"name", "owner", "status", "version", "createdAt", "modifiedAt"}

	postRenderStrategies = []string{"combined", "separate", "nohooks"}
	deletionPropagations = []string{"orphan", "foreground", "background"}
)

// validateHelmOptions checks what options hold.
func validateHelmOptions(options *config.HelmOptions, path *field.Path) field.ErrorList {
	errs := validateReleaseLabels(options.Labels, path.Child("labels"))
	if options.Timeout != nil && options.Timeout.Duration < 0 {
		errs = append(errs, field.Invalid(path.Child("timeout"), options.Timeout.Duration.String(), "must not be negative"))
	}
	if hasTemplate(options.Description) {
		errs = append(errs, validateTemplateSize(options.Description, path.Child("description"))...)
	}
	errs = append(errs, optionOf(options.PostRenderStrategy, postRenderStrategies, path.Child("postRenderStrategy"))...)
	errs = append(errs, optionOf(options.UninstallOptions.DeletionPropagation, deletionPropagations, path.Child("uninstallOptions", "deletionPropagation"))...)
	errs = append(errs, notNegative(options.InstallOptions.RecoverAfterConsecutiveFailures, path.Child("installOptions", "recoverAfterConsecutiveFailures"))...)
	return append(errs, notNegative(options.UpgradeOptions.MaxHistory, path.Child("upgradeOptions", "maxHistory"))...)
}

func optionOf(value string, known []string, path *field.Path) field.ErrorList {
	if value == "" {
		return nil
	}
	return oneOf(value, known, known, path)
}

func notNegative(value *int32, path *field.Path) field.ErrorList {
	if value == nil || *value >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *value, "must not be negative")}
}

func validateReleaseLabels(labels map[string]string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at, value := path.Key(key), labels[key]
		for _, problem := range utilvalidation.IsQualifiedName(key) {
			errs = append(errs, field.Invalid(at, key, problem))
		}
		switch {
		case slices.Contains(recordLabels, key) || strings.HasPrefix(key, musterLabels):
			errs = append(errs, field.Forbidden(at, "is the key of a label by which releases are found"))
		case hasTemplate(value):
			errs = append(errs, validateTemplateSize(value, at)...)
		case value == "null":
			errs = append(errs, field.Invalid(at, value, "is Helm's word for a label that is to be removed; leave the label out"))
		default:
			for _, problem := range utilvalidation.IsValidLabelValue(value) {
				errs = append(errs, field.Invalid(at, value, problem))
			}
		}
	}
	return errs
}

// warningsOnOptions says which options have no effect as they stand.
func warningsOnOptions(options *config.HelmOptions, path *field.Path) []string {
	if options == nil {
		return nil
	}
	var warnings []string
	if options.WaitForJobs && !options.Wait && !options.Atomic {
		warnings = append(warnings, fmt.Sprintf("%s: has no effect without wait or atomic", path.Child("waitForJobs")))
	}
	upgrade := &options.UpgradeOptions
	if upgrade.ResetValues && (upgrade.ReuseValues || upgrade.ResetThenReuseValues) {
		warnings = append(warnings, fmt.Sprintf("%s: no values are reused, because resetValues is set as well", path.Child("upgradeOptions")))
	} else if upgrade.ReuseValues && upgrade.ResetThenReuseValues {
		warnings = append(warnings, fmt.Sprintf("%s: has no effect beside reuseValues", path.Child("upgradeOptions", "resetThenReuseValues")))
	}
	return warnings
}
