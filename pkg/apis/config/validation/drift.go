// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
)

const (
	// maxDriftExclusions bounds driftExclusions, and maxPaths the paths of each.
	maxDriftExclusions = 500
	maxPaths           = 100
	// maxPointer is what one path may have, in bytes.
	maxPointer = 1 << 10
)

// pointer is a JSON pointer (RFC 6901) to something below the whole: in a token a tilde
// stands before 0 or 1 alone.
var pointer = regexp.MustCompile(`^(/([^~/]|~[01])*)+$`)

// identity are the fields without which there is no object to apply.
var identity = []string{"/", "/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace"}

func validateDriftExclusions(exclusions []lib.DriftExclusion, path *field.Path) field.ErrorList {
	if len(exclusions) > maxDriftExclusions {
		return field.ErrorList{field.TooMany(path, len(exclusions), maxDriftExclusions)}
	}
	var errs field.ErrorList
	for i := range exclusions {
		errs = append(errs, validatePointers(exclusions[i].Paths, path.Index(i).Child("paths"))...)
		if target := exclusions[i].Target; target != nil {
			errs = append(errs, validatePatchTarget(target, path.Index(i).Child("target"))...)
		}
	}
	return errs
}

func validatePointers(pointers []string, path *field.Path) field.ErrorList {
	switch {
	case len(pointers) == 0:
		return field.ErrorList{field.Required(path, "JSON pointers to the fields that others may change, as in /spec/replicas")}
	case len(pointers) > maxPaths:
		return field.ErrorList{field.TooMany(path, len(pointers), maxPaths)}
	}
	var errs field.ErrorList
	for i, p := range pointers {
		switch {
		case len(p) > maxPointer:
			errs = append(errs, field.TooLong(path.Index(i), "", maxPointer))
		case !pointer.MatchString(p):
			errs = append(errs, field.Invalid(path.Index(i), p, "is no JSON pointer, which starts with a slash, as in /spec/replicas"))
		case slices.Contains(identity, p):
			errs = append(errs, field.Invalid(path.Index(i), p, "names the object; leave the object out of the profile instead"))
		}
	}
	return errs
}
