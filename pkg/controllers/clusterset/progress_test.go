// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"testing"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/progress"
	"github.com/muster-project/muster/pkg/selection"
)

func TestProgressOfASet(t *testing.T) {
	for name, test := range map[string]struct {
		asked, selected, held int
		want                  progress.State
	}{
		"as many as asked for":  {asked: 2, selected: 2, want: progress.Settled},
		"nothing is asked for":  {want: progress.Settled},
		"too few":               {asked: 2, selected: 1, want: progress.Working},
		"one that is not ready": {asked: 1, held: 1, want: progress.Working},
	} {
		t.Run(name, func(t *testing.T) {
			object := &libv1beta1.ClusterSet{}
			object.Generation, object.Spec.MaxReplicas = 2, int32(test.asked)
			result := selection.Result{}
			result.Counts.Selected, result.Counts.Held = test.selected, test.held
			status := withResult(set{Object: object, spec: &object.Spec, status: &object.Status}, result)
			if got := progress.Of(status.Conditions); got != test.want {
				t.Errorf("state %d, want %d: %v", got, test.want, status.Conditions)
			}
		})
	}
}
