// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

func TestContentsOfIsTheNumberOfARevision(t *testing.T) {
	for value, valid := range map[string]bool{"1": true, "17": true, "": false, "0": false, "-1": false, "latest": false, "1.5": false} {
		errs := validateContentsOf(&metav1.ObjectMeta{Annotations: map[string]string{v1beta1.AnnotationContentsOf: value}})
		if (len(errs) == 0) != valid {
			t.Errorf("%q: %v", value, errs)
		}
		if !valid && (len(errs) == 0 || !strings.Contains(errs[0].Error(), "metadata.annotations[muster.projectsveltos.io/contents-of]")) {
			t.Errorf("%q: %v names no field", value, errs)
		}
	}
	if errs := validateContentsOf(&metav1.ObjectMeta{}); len(errs) != 0 {
		t.Errorf("without the annotation: %v", errs)
	}
}
