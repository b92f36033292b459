// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"k8s.io/apimachinery/pkg/api/meta"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/progress"
)

// setProgress says that a set that lacks clusters takes the next one that is ready.
// Nothing of it needs a person: labels, registrations and health change by other
// hands than those that wrote the set.
func setProgress(status *libv1beta1.ClusterSetStatus) {
	state := progress.Settled
	if !meta.IsStatusConditionTrue(status.Conditions, libv1beta1.ConditionReady) {
		state = progress.Working
	}
	progress.Set(&status.Conditions, state, "")
}
