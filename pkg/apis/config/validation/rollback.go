// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// validateContentsOf checks the annotation that asks for the contents of a former
// revision. Whether there is such a revision is found out by who deploys.
func validateContentsOf(meta *metav1.ObjectMeta) field.ErrorList {
	value, asked := meta.Annotations[v1beta1.AnnotationContentsOf]
	if !asked {
		return nil
	}
	if number, err := strconv.ParseInt(value, 10, 64); err != nil || number < 1 {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(v1beta1.AnnotationContentsOf), value,
			"has to be the number of a revision in the profile's history")}
	}
	return nil
}
