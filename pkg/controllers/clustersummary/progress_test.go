// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/progress"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// kubectl wait, Flux and Argo CD read these conditions as kstatus does.
func TestProgressOfASummary(t *testing.T) {
	missing := &SourceError{Kind: "ConfigMap", Name: types.NamespacedName{Namespace: "apps", Name: "a"}, Err: errors.New("does not exist")}
	tests := map[string]struct {
		verdict verdict
		last    *outcome
		want    progress.State
		says    string
	}{
		"not begun":           {verdict: verdictWork, want: progress.Working},
		"done":                {verdict: verdictNothing, last: deployed(), want: progress.Settled},
		"to be tried again":   {verdict: verdictRetryLater, last: failedResources(errors.New("connection refused")), want: progress.Working, says: "policyRefs Failed: connection refused"},
		"something is coming": {verdict: verdictRetryLater, last: failedResources(&deploy.PendingError{}), want: progress.Working, says: "policyRefs Provisioning"},
		"a source is missing": {verdict: verdictRetryLater, last: failedResources(missing), want: progress.Stuck, says: "policyRefs Failed: ConfigMap apps/a of the host"},
		"another one has it": {verdict: verdictRetryLater, want: progress.Stuck, says: "ClusterProfile other",
			last: failedResources(&deploy.ConflictError{Object: "ConfigMap default/a", Owner: inventory.OwnerKey{Kind: "ClusterProfile", Name: "other"}})},
		"the cluster is away":   {verdict: verdictWaitForCluster, want: progress.Working, says: "Waiting for SveltosCluster"},
		"the cluster is paused": {verdict: verdictPaused, want: progress.Settled},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			summary := withBoth(summaryOf(configv1beta1.SyncModeContinuous, 3))
			status := desiredStatus(summary, readyCluster(), test.verdict, test.last)
			if got := progress.Of(status.Conditions); got != test.want {
				t.Errorf("state %d, want %d: %v", got, test.want, status.Conditions)
			}
			for _, conditionType := range []string{libv1beta1.ConditionReconciling, libv1beta1.ConditionStalled} {
				if c := meta.FindStatusCondition(status.Conditions, conditionType); c != nil && (!strings.Contains(c.Message, test.says) || c.ObservedGeneration != 3) {
					t.Errorf("%s is of generation %d and says %q, want %q", conditionType, c.ObservedGeneration, c.Message, test.says)
				}
			}
		})
	}
}

func TestEachFeatureIsAnnounced(t *testing.T) {
	recorder := events.NewFakeRecorder(10)
	r := New(Options{Events: recorder})
	summary := withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1))
	summary.Spec.ClusterNamespace, summary.Spec.ClusterName = "civo", "cluster1"
	announced := func(last *outcome) []string {
		before := summary.Status.DeepCopy()
		summary.Status = desiredStatus(summary, readyCluster(), verdictNothing, last)
		r.announceFeatures(summary, before)
		var out []string
		for len(recorder.Events) > 0 {
			out = append(out, <-recorder.Events)
		}
		return out
	}
	steps := []struct {
		last *outcome
		want []string
	}{
		{failedResources(errors.New(`ConfigMap apps/a: key "x": no YAML`)), []string{`Warning FeatureFailed policyRefs on SveltosCluster civo/cluster1: ConfigMap apps/a: key "x": no YAML`}},
		{failedResources(errors.New(`ConfigMap apps/a: key "x": no YAML`)), nil},
		{failedResources(errors.New("quota exceeded")), []string{"Warning FeatureFailed policyRefs on SveltosCluster civo/cluster1: quota exceeded"}},
		{deployed(), []string{
			"Normal FeatureDeployed policyRefs deployed to SveltosCluster civo/cluster1",
			"Normal FeatureDeployed helmCharts deployed to SveltosCluster civo/cluster1",
		}},
		{deployed(), nil},
	}
	for i, step := range steps {
		if got := announced(step.last); !slices.Equal(got, step.want) {
			t.Errorf("step %d announces %q, want %q", i, got, step.want)
		}
	}
}
