// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/progress"
)

// setProgress says whether a cluster that is not ready may be so by itself: one
// that does not answer is probed until it does, and one that refuses our
// credentials refuses them until somebody replaces them.
func setProgress(status *libv1beta1.SveltosClusterStatus) {
	ready := meta.FindStatusCondition(status.Conditions, libv1beta1.ConditionReady)
	switch {
	case ready == nil || ready.Status == metav1.ConditionTrue:
		progress.Set(&status.Conditions, progress.Settled, "")
	case ready.Reason == libv1beta1.ReasonCredentialsInvalid || meta.IsStatusConditionFalse(status.Conditions, libv1beta1.ConditionCredentialsValid):
		progress.Set(&status.Conditions, progress.Stuck, "")
	default:
		progress.Set(&status.Conditions, progress.Working, "")
	}
}
