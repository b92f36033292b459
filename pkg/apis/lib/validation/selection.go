// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// selectionReasons are all reasons that candidates can be asked for by.
var selectionReasons = []lib.SelectionReason{
	lib.SelectionSelected, lib.SelectionHeld, lib.SelectionStandby,
	lib.SelectionNotReady, lib.SelectionReturning, lib.SelectionNotMatching,
}

// ValidateSelectionOptions checks the parameters of subresource selection.
func ValidateSelectionOptions(options *lib.SelectionOptions) field.ErrorList {
	var errs field.ErrorList
	if options.Limit < 0 {
		errs = append(errs, field.Invalid(field.NewPath("limit"), options.Limit, apivalidation.IsNegativeErrorMsg))
	}
	if reason := lib.SelectionReason(options.Reason); reason != "" && !slices.Contains(selectionReasons, reason) {
		errs = append(errs, field.NotSupported(field.NewPath("reason"), reason, selectionReasons))
	}
	if version := options.ResourceVersion; version != "" {
		// What is read without a version is never older than any version.
		if _, err := strconv.ParseUint(version, 10, 64); err != nil {
			errs = append(errs, field.Invalid(field.NewPath("resourceVersion"), version, "has to be a resourceVersion"))
		}
	}
	return errs
}

// WarningsOnClusterRefs names clusters that are referred to more than once.
func WarningsOnClusterRefs(refs []corev1.ObjectReference, path *field.Path) []string {
	type identity struct{ kind, namespace, name string }
	seen := make(map[identity]bool, len(refs))
	var warnings []string
	for i, ref := range refs {
		key := identity{ref.Kind, ref.Namespace, ref.Name}
		if seen[key] {
			warnings = append(warnings, fmt.Sprintf("%s: %s %s/%s is named more than once", path.Index(i), ref.Kind, ref.Namespace, ref.Name))
		}
		seen[key] = true
	}
	return warnings
}
