// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/progress"
)

func TestProgressOfAProfile(t *testing.T) {
	done := withReady("a", metav1.ConditionTrue, configv1beta1.ReasonProvisioned, "")
	busy := withReady("b", metav1.ConditionFalse, configv1beta1.ReasonProvisioning, "")
	retried := withReady("b", metav1.ConditionFalse, configv1beta1.ReasonFailed, "quota exceeded")
	progress.Set(&retried.Status.Conditions, progress.Working, "")
	stuck := withReady("b", metav1.ConditionFalse, configv1beta1.ReasonSourceMissing, "no ConfigMap")
	progress.Set(&stuck.Status.Conditions, progress.Stuck, "")
	away := withReady("c", metav1.ConditionFalse, configv1beta1.ReasonClusterUnreachable, "")
	withdrawing := withReady("d", metav1.ConditionFalse, configv1beta1.ReasonWithdrawing, "")
	withdrawing.Spec.Withdraw = true
	refused := errors.Join(&refusedError{cluster: clusterref.Of("civo", "b"), err: errCollision})

	tests := map[string]struct {
		m           matching
		summaries   []configv1beta1.ClusterSummary
		failed      error
		want        progress.State
		provisioned int32
		says        string
	}{
		"everything is there":             {m: matched("a"), summaries: []configv1beta1.ClusterSummary{done}, want: progress.Settled, provisioned: 1},
		"nothing matches":                 {want: progress.Settled},
		"one is being withdrawn from":     {m: matched("a"), summaries: []configv1beta1.ClusterSummary{done, withdrawing}, want: progress.Settled, provisioned: 1},
		"a summary is to come":            {m: matched("a", "b"), summaries: []configv1beta1.ClusterSummary{done}, want: progress.Working, provisioned: 1},
		"one is busy":                     {m: matched("a", "b"), summaries: []configv1beta1.ClusterSummary{done, busy}, want: progress.Working, provisioned: 1},
		"one is tried again":              {m: matched("a", "b"), summaries: []configv1beta1.ClusterSummary{done, retried}, want: progress.Working, provisioned: 1},
		"one is stuck":                    {m: matched("a", "b"), summaries: []configv1beta1.ClusterSummary{done, stuck}, want: progress.Stuck, provisioned: 1, says: "SveltosCluster civo/b: no ConfigMap"},
		"one is stuck, another is away":   {m: matched("b", "c"), summaries: []configv1beta1.ClusterSummary{stuck, away}, want: progress.Stuck, says: "SveltosCluster civo/b: no ConfigMap"},
		"one is away":                     {m: matched("a", "c"), summaries: []configv1beta1.ClusterSummary{done, away}, want: progress.Working, provisioned: 1},
		"one is refused, the rest stands": {m: matched("a", "b"), summaries: []configv1beta1.ClusterSummary{done}, failed: refused, want: progress.Stuck, provisioned: 1, says: "two names collide"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := ofClusterProfile(&configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 4}})
			status := desiredStatus(p, test.m, test.summaries, test.failed)
			if got := progress.Of(status.Conditions); got != test.want || status.ProvisionedClusterCount != test.provisioned {
				t.Errorf("state %d, want %d; %d provisioned, want %d: %v", got, test.want, status.ProvisionedClusterCount, test.provisioned, status.Conditions)
			}
			stalled := meta.FindStatusCondition(status.Conditions, libv1beta1.ConditionStalled)
			if test.says != "" && (stalled == nil || !strings.Contains(stalled.Message, test.says) || stalled.ObservedGeneration != 4) {
				t.Errorf("Stalled is %v, want %q", stalled, test.says)
			}
		})
	}
}
