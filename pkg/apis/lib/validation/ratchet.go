// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"reflect"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

var listIndex = regexp.MustCompile(`\[\d+\]`)

// Ratchet returns the errors of an object that its stored version does not have
// too. A rule that became stricter, or a value that was stored before there was a
// rule, must not stop anybody from writing the rest of the object: its status, its
// labels, or the removal of the last finalizer.
//
// Two errors are the same if they say the same about the same value of the same
// field. The position in a list does not count, so that taking one element out does
// not blame those behind it; how often they occur does.
func Ratchet(errs, stored field.ErrorList) field.ErrorList {
	excused := make([]bool, len(stored))
	var fresh field.ErrorList
	for _, err := range errs {
		if i := indexOfSame(err, stored, excused); i >= 0 {
			excused[i] = true
			continue
		}
		fresh = append(fresh, err)
	}
	return fresh
}

func indexOfSame(err *field.Error, stored field.ErrorList, excused []bool) int {
	for i, other := range stored {
		if !excused[i] && sameError(err, other) {
			return i
		}
	}
	return -1
}

func sameError(a, b *field.Error) bool {
	return a.Type == b.Type && a.Detail == b.Detail &&
		listIndex.ReplaceAllString(a.Field, "[]") == listIndex.ReplaceAllString(b.Field, "[]") &&
		reflect.DeepEqual(a.BadValue, b.BadValue)
}
