// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/render"
)

func failedResources(err error) *outcome {
	return &outcome{ended: noon, failures: 2, result: deploy.Result{
		Features: map[deploy.Feature]deploy.FeatureResult{deploy.Resources: {Err: err}},
	}}
}

func deployed() *outcome {
	return &outcome{ended: noon, result: deploy.Result{
		Features: map[deploy.Feature]deploy.FeatureResult{
			deploy.Resources: {Applied: 1, Hash: "h1"}, deploy.Helm: {Applied: 1, Hash: "h2"},
		},
		Record: &inventory.Record{
			Objects: []inventory.Object{
				{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Name: "a"}, Version: "v1", Feature: "Resources"},
				{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Name: "b"}, Version: "v1", Feature: "Resources"},
				{ObjectKey: inventory.ObjectKey{Group: "apps", Kind: "Deployment", Name: "c"}, Version: "v1", Feature: "Resources"},
			},
			Releases: []inventory.Release{{ReleaseKey: inventory.ReleaseKey{Namespace: "kyverno", Name: "kyverno-latest"}, Chart: "kyverno", Version: "3.3.3"}},
		},
	}}
}

func withBoth(summary *configv1beta1.ClusterSummary) *configv1beta1.ClusterSummary {
	summary.Spec.ClusterProfileSpec.PolicyRefs = []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "a"}}
	summary.Spec.ClusterProfileSpec.HelmCharts = []configv1beta1.HelmChart{{ReleaseName: "kyverno-latest"}}
	return summary
}

func readyOf(status configv1beta1.ClusterSummaryStatus) string {
	ready := meta.FindStatusCondition(status.Conditions, configv1beta1.ConditionReady)
	return string(ready.Status) + "/" + ready.Reason
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	conflict := &deploy.ConflictError{Object: "ConfigMap default/a", Owner: inventory.OwnerKey{Kind: "ClusterProfile", Name: "other"}}
	passing := &deploy.ConflictError{Object: "ConfigMap default/a", Temporary: true}
	tests := []struct {
		name string
		last *outcome
		v    verdict
		want string
	}{
		{"before the first job", nil, verdictWork, "False/Provisioning"},
		{"all is there", deployed(), verdictNothing, "True/Provisioned"},
		{"a change is being deployed", deployed(), verdictWork, "False/Provisioning"},
		{"another profile has it", failedResources(fmt.Errorf("x: %w", conflict)), verdictRetryLater, "False/Conflict"},
		{"another profile is letting go of it", failedResources(passing), verdictRetryLater, "False/Provisioning"},
		{"the profile has changed meanwhile", failedResources(fmt.Errorf("waiting: %w", fleet.ErrSuperseded)), verdictWork, "False/Provisioning"},
		{"something pruned is not gone yet", &outcome{result: deploy.Result{Err: &deploy.PendingError{}}}, verdictRetryLater, "False/Provisioning"},
		{"a source is missing", failedResources(&SourceError{Kind: "ConfigMap", Err: errors.New("does not exist")}), verdictRetryLater, "False/SourceMissing"},
		{"a source is broken", failedResources(&render.SourceError{Err: errors.New("no YAML")}), verdictRetryLater, "False/SourceInvalid"},
		{"no such chart", failedResources(&release.ChartError{Reason: release.NotFound, Err: errors.New("no")}), verdictRetryLater, "False/SourceMissing"},
		{"a chart that does not render", failedResources(&release.ChartError{Reason: release.Render, Err: errors.New("no")}), verdictRetryLater, "False/SourceInvalid"},
		{"the repository is down", failedResources(&release.ChartError{Reason: release.Unreachable, Err: errors.New("no")}), verdictRetryLater, "False/Failed"},
		{"the cluster could not be reached", &outcome{err: errors.New("no")}, verdictRetryLater, "False/Failed"},
		{"the cluster is down", nil, verdictWaitForCluster, "False/ClusterUnreachable"},
		{"the cluster is paused", nil, verdictPaused, "False/Paused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status := desiredStatus(withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1)), readyCluster(), test.v, test.last)
			if got := readyOf(status); got != test.want {
				t.Errorf("Ready is %s, want %s", got, test.want)
			}
		})
	}
}

func TestAClusterThatGoesDownTakesNoReadinessBack(t *testing.T) {
	for _, v := range []verdict{verdictWaitForCluster, verdictPaused} {
		summary := summaryOf(configv1beta1.SyncModeContinuous, 1, provisioned(1))
		if got := readyOf(desiredStatus(summary, readyCluster(), v, nil)); got != "True/Provisioned" {
			t.Errorf("%s: Ready is %s, want it kept", v, got)
		}
		summary.Generation = 2
		if got := readyOf(desiredStatus(summary, readyCluster(), v, nil)); got == "True/Provisioned" {
			t.Errorf("%s: a spec that was never deployed passes for ready", v)
		}
	}
}

func TestANewLeaderTakesNothingBackBeforeItKnowsBetter(t *testing.T) {
	conflict := &deploy.ConflictError{Object: "ConfigMap default/a", Owner: inventory.OwnerKey{Kind: "ClusterProfile", Name: "other"}}
	unreachable := provisioned(1)
	unreachable.Status, unreachable.Reason = metav1.ConditionFalse, configv1beta1.ReasonClusterUnreachable
	tests := []struct {
		name       string
		before     configv1beta1.ClusterSummaryStatus
		generation int64
		want       string
	}{
		{"deployed", configv1beta1.ClusterSummaryStatus{Conditions: []metav1.Condition{provisioned(1)}}, 1, "True/Provisioned"},
		{"in conflict", desiredStatus(summaryOf(configv1beta1.SyncModeContinuous, 1), readyCluster(), verdictRetryLater, failedResources(conflict)), 1, "False/Conflict"},
		{"another spec", configv1beta1.ClusterSummaryStatus{Conditions: []metav1.Condition{provisioned(1)}}, 2, "False/Provisioning"},
		{"the cluster has become ready", configv1beta1.ClusterSummaryStatus{Conditions: []metav1.Condition{unreachable}}, 1, "False/Provisioning"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			summary := summaryOf(configv1beta1.SyncModeContinuous, test.generation)
			summary.Status = test.before
			status := desiredStatus(summary, readyCluster(), verdictWork, nil)
			if got := readyOf(status); got != test.want {
				t.Errorf("Ready is %s before the first job has ended, want %s", got, test.want)
			}
			inConflict := meta.IsStatusConditionTrue(status.Conditions, configv1beta1.ConditionConflict)
			if was := meta.IsStatusConditionTrue(test.before.Conditions, configv1beta1.ConditionConflict); inConflict != was {
				t.Errorf("in conflict: %t before the first job has ended, and %t before", inConflict, was)
			}
		})
	}
}

func TestEachReleaseSaysWhoHasIt(t *testing.T) {
	has := func(name, profile string) (inventory.ReleaseKey, error) {
		key := inventory.ReleaseKey{Namespace: "apps", Name: name}
		return key, &deploy.ConflictError{Object: key.String(), Owner: inventory.OwnerKey{Kind: "ClusterProfile", Name: profile}}
	}
	kyverno, first := has("kyverno", "policies")
	nginx, second := has("nginx", "ingress")
	last := failedResources(nil)
	last.result.Features = map[deploy.Feature]deploy.FeatureResult{
		deploy.Helm: {Err: errors.Join(first, fmt.Errorf("and: %w", second))},
	}
	last.result.Record = &inventory.Record{WantedReleases: []inventory.ReleaseKey{kyverno, nginx}}
	status := desiredStatus(withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1)), readyCluster(), verdictRetryLater, last)
	for i, profile := range []string{"policies", "ingress"} {
		if got := status.HelmReleaseSummaries[i]; !strings.Contains(got.ConflictMessage, profile) {
			t.Errorf("of release %s it is said that %q, want profile %s", got.ReleaseName, got.ConflictMessage, profile)
		}
	}
}

func TestFeatures(t *testing.T) {
	status := desiredStatus(withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1)), readyCluster(), verdictNothing, deployed())
	var got []string
	for _, f := range status.FeatureSummaries {
		got = append(got, fmt.Sprintf("%s %s %s %v", f.FeatureID, f.Status, f.Hash, f.DeployedGroupVersionKind))
	}
	want := []string{"Resources Provisioned h1 [ConfigMap.v1. Deployment.v1.apps]", "Helm Provisioned h2 []"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
	if len(status.HelmReleaseSummaries) != 1 || status.HelmReleaseSummaries[0].Status != configv1beta1.HelmChartStatusManaging {
		t.Errorf("releases are %+v", status.HelmReleaseSummaries)
	}
	if first := status.FeatureSummaries[0].LastAppliedTime; first == nil || !first.Time.Equal(noon) {
		t.Errorf("lastAppliedTime is %v, want %s", first, noon)
	}
}

func TestAPassThatChangesNothingChangesNoStatus(t *testing.T) {
	summary := withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1))
	summary.Status = desiredStatus(summary, readyCluster(), verdictNothing, deployed())
	again := deployed()
	again.ended = noon.Add(time.Hour)
	for feature, result := range again.result.Features {
		result.Applied = 0
		again.result.Features[feature] = result
	}
	if diff := cmp.Diff(summary.Status, desiredStatus(summary, readyCluster(), verdictNothing, again)); diff != "" {
		t.Errorf("status (-before +after):\n%s", diff)
	}
}

func TestWithdrawalIsSaid(t *testing.T) {
	summary := withBoth(summaryOf(configv1beta1.SyncModeContinuous, 2, provisioned(1)))
	summary.Spec.Withdraw = true
	now := metav1.NewTime(noon)
	summary.DeletionTimestamp = &now
	status := desiredStatus(summary, readyCluster(), verdictWaitForCluster, nil)
	if got := readyOf(status); got != "False/Withdrawing" {
		t.Errorf("Ready is %s", got)
	}
	status = desiredStatus(summary, readyCluster(), verdictWork, &outcome{ended: noon, withdrawn: true})
	for _, feature := range status.FeatureSummaries {
		if feature.Status != configv1beta1.FeatureStatusRemoved {
			t.Errorf("feature %s is %s after the withdrawal", feature.FeatureID, feature.Status)
		}
	}
}

// A revision that is lost does not come back: somebody has to be told, and asked.
func TestAWithdrawalWithoutItsRevisionAsksAPerson(t *testing.T) {
	summary := withBoth(summaryOf(configv1beta1.SyncModeContinuous, 2))
	summary.Spec.Withdraw = true
	for _, cause := range []error{revision.ErrNotFound, revision.ErrDamaged} {
		_, err := behaviorOf(summary, revision.Revision{}, fmt.Errorf("%w: %q", cause, "web/1"))
		status := desiredStatus(summary, readyCluster(), verdictRetryLater, &outcome{ended: noon, failures: 1, err: err})
		ready := meta.FindStatusCondition(status.Conditions, configv1beta1.ConditionReady)
		if ready.Reason != configv1beta1.ReasonRevisionLost || !strings.Contains(ready.Message, configv1beta1.StopMatchingBehaviorAnnotation) {
			t.Errorf("%v: Ready is %s: %s", cause, ready.Reason, ready.Message)
		}
	}
}

func TestWhatAWithdrawalDoesIsNeverGuessed(t *testing.T) {
	unreachable := errors.New("etcd does not answer")
	leaves := revision.Revision{Spec: &configv1beta1.ProfileSpec{StopMatchingBehavior: configv1beta1.LeavePolicies}}
	for _, tc := range []struct {
		name       string
		revision   revision.Revision
		err        error
		annotation string
		want       deploy.Behavior
	}{
		{name: "the revision says it, whatever an annotation says", revision: leaves, annotation: "WithdrawPolicies", want: deploy.LeavePolicies},
		{name: "a revision that cannot be read now", err: unreachable, annotation: "WithdrawPolicies"},
		{name: "nobody says it", err: revision.ErrNotFound},
		{name: "nobody says anything that is known", err: revision.ErrNotFound, annotation: "Delete"},
		{name: "a person says leave", err: revision.ErrNotFound, annotation: "LeavePolicies", want: deploy.LeavePolicies},
		{name: "a person says withdraw", err: revision.ErrDamaged, annotation: "WithdrawPolicies", want: deploy.WithdrawPolicies},
	} {
		t.Run(tc.name, func(t *testing.T) {
			summary := summaryOf(configv1beta1.SyncModeContinuous, 1)
			summary.Annotations = map[string]string{configv1beta1.StopMatchingBehaviorAnnotation: tc.annotation}
			got, err := behaviorOf(summary, tc.revision, tc.err)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestMessagesAreBounded(t *testing.T) {
	status := desiredStatus(withBoth(summaryOf(configv1beta1.SyncModeContinuous, 1)), readyCluster(), verdictRetryLater,
		failedResources(errors.New(strings.Repeat("x", 1<<20))))
	ready := meta.FindStatusCondition(status.Conditions, configv1beta1.ConditionReady)
	if len(ready.Message) > maxMessage+16 || len(*status.FeatureSummaries[0].FailureMessage) > maxMessage+16 {
		t.Errorf("messages of %d and %d bytes", len(ready.Message), len(*status.FeatureSummaries[0].FailureMessage))
	}
}

func TestWhenItIsTriedAgain(t *testing.T) {
	broken := errors.New("broken")
	final := failedResources(broken)
	final.final = true
	for name, tc := range map[string]struct {
		verdict verdict
		last    *outcome
		want    time.Duration // after noon
	}{
		"never tried":        {verdict: verdictWork},
		"it failed":          {verdict: verdictRetryLater, last: failedResources(broken), want: 2 * time.Second},
		"it is tried":        {verdict: verdictWork, last: failedResources(broken), want: 2 * time.Second},
		"it waits":           {verdict: verdictRetryLater, last: failedResources(&deploy.PendingError{})},
		"the cluster is off": {verdict: verdictWaitForCluster, last: failedResources(broken)},
		"paused":             {verdict: verdictPaused, last: failedResources(broken)},
		"for a person":       {verdict: verdictNothing, last: final},
		"deployed":           {verdict: verdictNothing, last: deployed()},
	} {
		summary := withBoth(summaryFor("kyverno"))
		summary.Status.NextReconcileTime = &metav1.Time{Time: noon.Add(time.Hour)} // of before
		got := desiredStatus(summary, registration(), tc.verdict, tc.last).NextReconcileTime
		if tc.want == 0 && got != nil || tc.want != 0 && (got == nil || !got.Time.Equal(noon.Add(tc.want))) {
			t.Errorf("%s: tried again at %v, want %s after noon", name, got, tc.want)
		}
	}
}
