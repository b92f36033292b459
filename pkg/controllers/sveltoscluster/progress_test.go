// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"testing"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/progress"
	"github.com/muster-project/muster/pkg/fleet"
)

func TestProgressOfACluster(t *testing.T) {
	for name, test := range map[string]struct {
		health fleet.Health
		want   progress.State
	}{
		"ready":                    {fleet.Health{Ready: true, EverReady: true}, progress.Settled},
		"not probed yet":           {fleet.Health{}, progress.Working},
		"down":                     {fleet.Health{Down: true, Failures: 3, EverReady: true}, progress.Working},
		"its credentials are void": {fleet.Health{CredentialsInvalid: true}, progress.Stuck},
		"down, with void ones":     {fleet.Health{Down: true, Failures: 3, EverReady: true, CredentialsInvalid: true}, progress.Stuck},
		"ready, with void ones":    {fleet.Health{Ready: true, EverReady: true, CredentialsInvalid: true}, progress.Settled},
	} {
		t.Run(name, func(t *testing.T) {
			status := desiredStatus(&libv1beta1.SveltosCluster{}, test.health, nil)
			if got := progress.Of(status.Conditions); got != test.want {
				t.Errorf("state %d, want %d: %v", got, test.want, status.Conditions)
			}
		})
	}
}
