// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/drift"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

func tried() *outcome {
	return &outcome{ended: noon, dryRun: &deploy.Preview{
		Objects:  []deploy.ObjectChange{{Action: deploy.ActionCreate}, {Action: deploy.ActionUpdate}, {Action: deploy.ActionDelete}, {Action: deploy.ActionNone}, {Action: deploy.ActionError}},
		Releases: []deploy.ReleaseChange{{Action: deploy.ActionInstall}, {Action: deploy.ActionConflict}},
	}}
}

// As upstream: a profile in mode DryRun is never provisioned, and has not failed.
func TestDryRunIsNeverProvisioned(t *testing.T) {
	summary := withBoth(summaryOf(configv1beta1.SyncModeDryRun, 1, provisioned(1)))
	summary.Status.FeatureSummaries = []configv1beta1.FeatureSummary{{FeatureID: libv1beta1.FeatureResources, Status: configv1beta1.FeatureStatusProvisioned}}
	status := desiredStatus(summary, readyCluster(), verdictNothing, tried())
	if got := readyOf(status); got != "False/DryRun" {
		t.Errorf("Ready is %s", got)
	}
	const want = "mode is DryRun: nothing is deployed; 2 would be created, 1 updated, 1 deleted, 1 are in conflict, 1 would fail"
	for _, feature := range status.FeatureSummaries {
		if feature.Status != configv1beta1.FeatureStatusProvisioning || feature.FailureMessage == nil || *feature.FailureMessage != want || feature.FailureReason != nil {
			t.Errorf("feature %+v", feature)
		}
	}
	if configv1beta1.IsFailure(configv1beta1.ReasonDryRun) {
		t.Error("it counts as a failure")
	}
	// What went wrong, and a cluster that does not answer, count for more.
	failed := tried()
	failed.err = errors.New("no")
	if got := readyOf(desiredStatus(summary, readyCluster(), verdictRetryLater, failed)); got != "False/Failed" {
		t.Errorf("Ready is %s after a failure", got)
	}
	// It is not withdrawn either, until it is deleted.
	summary.Spec.Withdraw = true
	if got := readyOf(desiredStatus(summary, readyCluster(), verdictNothing, tried())); got != "False/DryRun" {
		t.Errorf("Ready is %s where the profile matches no more", got)
	}
	summary.DeletionTimestamp = ptr.To(metav1.Now())
	if got := readyOf(desiredStatus(summary, readyCluster(), verdictWork, tried())); got != "False/Withdrawing" {
		t.Errorf("Ready is %s where it is deleted", got)
	}
}

func TestDriftExclusions(t *testing.T) {
	excluded, err := exclusions(&configv1beta1.ProfileSpec{DriftExclusions: []libv1beta1.DriftExclusion{
		{Paths: []string{"/spec/replicas"}, Target: &libv1beta1.PatchSelector{Kind: "Deployment", Name: "web.*"}},
		{Paths: []string{"/metadata/annotations", "/spec/replicas"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	object := func(kind, name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": kind, "metadata": map[string]any{"name": name}}}
	}
	if got := excluded(object("Deployment", "web-1")); !slices.Equal(got, []string{"/metadata/annotations", "/spec/replicas"}) {
		t.Errorf("excluded %v", got)
	}
	if none, err := exclusions(&configv1beta1.ProfileSpec{}); none != nil || err != nil {
		t.Errorf("a profile without exclusions has some, or %v", err)
	}
	if _, err := exclusions(&configv1beta1.ProfileSpec{DriftExclusions: []libv1beta1.DriftExclusion{{Paths: []string{"/a"}, Target: &libv1beta1.PatchSelector{Name: "["}}}}); err == nil || !strings.Contains(err.Error(), "driftExclusions[0]") {
		t.Errorf("a target that is no expression: %v", err)
	}
}

func TestDriftCondition(t *testing.T) {
	object := inventory.ObjectKey{Kind: "ConfigMap", Namespace: "apps", Name: "a"}
	tests := map[string]struct {
		contests []drift.Contest
		failure  error
		want     metav1.ConditionStatus
		reason   string
		says     string
	}{
		"nothing":       {nil, nil, metav1.ConditionFalse, configv1beta1.ReasonNotContested, ""},
		"a contest":     {[]drift.Contest{{Object: object, By: "hot-controller"}}, nil, metav1.ConditionTrue, configv1beta1.ReasonContested, `ConfigMap apps/a is changed by field manager "hot-controller"`},
		"deletions":     {[]drift.Contest{{Object: object, Deleted: true}}, nil, metav1.ConditionTrue, configv1beta1.ReasonContested, "ConfigMap apps/a is deleted"},
		"no watch":      {nil, errors.New("forbidden"), metav1.ConditionUnknown, configv1beta1.ReasonNotWatched, "forbidden"},
		"both of these": {[]drift.Contest{{Object: object}}, errors.New("forbidden"), metav1.ConditionTrue, configv1beta1.ReasonContested, "ConfigMap apps/a"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := driftCondition(tc.contests, tc.failure)
			if got.Status != tc.want || got.Reason != tc.reason || !strings.Contains(got.Message, tc.says) {
				t.Errorf("condition %+v", got)
			}
		})
	}
	// It is written once, however often the repairs go on.
	first := driftCondition([]drift.Contest{{Object: object, By: "x", Repairs: 3, Next: noon}}, nil)
	later := driftCondition([]drift.Contest{{Object: object, By: "x", Repairs: 9, Next: noon.Add(time.Hour)}}, nil)
	if first.Message != later.Message {
		t.Errorf("the message changes: %q, %q", first.Message, later.Message)
	}
}
