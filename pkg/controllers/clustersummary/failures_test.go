// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
)

// failing runs a job of a summary that ends with errors of its lists.
func failing(m *memory, summary *configv1beta1.ClusterSummary, change func(*outcome), errs map[deploy.Feature]error) outcome {
	name := types.NamespacedName{Namespace: summary.Namespace, Name: summary.Name}
	o := outcome{uid: summary.UID, fingerprint: "f", ended: noon, changed: m.begin(name)}
	if change != nil {
		change(&o)
	}
	o.result.Features = map[deploy.Feature]deploy.FeatureResult{}
	for feature, err := range errs {
		o.result.Features[feature] = deploy.FeatureResult{Err: err, Hash: "hash"}
	}
	o.parts.remote.Features = map[deploy.Feature]deploy.FeatureResult{}
	for feature, result := range o.result.Features {
		o.parts.remote.Features[feature] = result
	}
	m.countFailures(name, summary, &o)
	m.end(name, o)
	return o
}

func limited(limit int32) *configv1beta1.ClusterSummary {
	summary := withBoth(summaryFor("kyverno"))
	summary.Spec.ClusterProfileSpec.MaxConsecutiveFailures = ptr.To(limit)
	return summary
}

func TestAListIsGivenUpAfterItsFailures(t *testing.T) {
	summary, m := limited(3), newMemory()
	name := types.NamespacedName{Namespace: summary.Namespace, Name: summary.Name}
	bad := map[deploy.Feature]error{deploy.Resources: errors.New("no"), deploy.Helm: nil}
	for i := 1; i <= 3; i++ {
		o := failing(m, summary, nil, bad)
		if o.inARow[deploy.Resources] != i || o.final != (i == 3) || isFinal(o.result.Features[deploy.Resources].Err) != (i == 3) {
			t.Fatalf("job %d: %d in a row, final %t, %v", i, o.inARow[deploy.Resources], o.final, o.result.Features[deploy.Resources].Err)
		}
	}
	last, _ := m.last(name, summary.UID)
	s := situation{summary: summary, cluster: registration(), fingerprint: "f", last: last, now: noon}
	if v, wait := decide(s); v != verdictNothing || wait != 0 {
		t.Errorf("after the last failure: %s in %s", v, wait)
	}
	status := desiredStatus(summary, registration(), verdictNothing, last)
	if feature := status.FeatureSummaries[0]; feature.FeatureID != libv1beta1.FeatureResources || feature.Status != configv1beta1.FeatureStatusFailedNonRetriable || feature.ConsecutiveFailures != 3 {
		t.Errorf("status %+v", feature)
	}

	// As long as it asks for the same, it is not run, whatever else causes a job.
	o := outcome{uid: summary.UID, fingerprint: "f"}
	halted := m.halts(name, o).remote
	if len(halted) != 1 || halted[deploy.Resources].Hash != "hash" {
		t.Errorf("halted: %v", halted)
	}
	again := failing(m, summary, nil, map[deploy.Feature]error{deploy.Resources: halted[deploy.Resources].Err})
	if again.inARow[deploy.Resources] != 3 || !again.final {
		t.Errorf("what was not run counts: %+v", again.inARow)
	}
	if first, second := halted[deploy.Resources].Err.Error(), m.halts(name, o).remote[deploy.Resources].Err.Error(); first != second {
		t.Errorf("the error grows: %q, %q", first, second)
	}

	for what, change := range map[string]func(*outcome){
		"another spec": func(o *outcome) { o.fingerprint = "other" },
		"a source":     func(o *outcome) { o.changed = true },
		"a new object": func(o *outcome) { o.uid = "other" },
	} {
		o := outcome{uid: summary.UID, fingerprint: "f"}
		change(&o)
		if halted := m.halts(name, o); len(halted.remote) > 0 {
			t.Errorf("%s has changed, and %v is halted", what, halted)
		}
		if o := failing(m, summary, change, bad); o.inARow[deploy.Resources] != 1 || o.final {
			t.Errorf("%s has changed, and %d failures are counted", what, o.inARow[deploy.Resources])
		}
		for range 3 {
			failing(m, summary, nil, bad)
		}
	}
}

func TestWhatCountsAsAFailure(t *testing.T) {
	pending := error(&deploy.PendingError{Objects: []string{"x"}})
	waiting := error(&deploy.WaitingError{Feature: deploy.Helm, For: deploy.Resources})
	no := errors.New("no")
	tests := map[string]struct {
		limit  int32
		change func(*outcome)
		errs   map[deploy.Feature]error
		final  bool
		count  int
	}{
		"no limit":                     {0, nil, map[deploy.Feature]error{deploy.Resources: no}, false, 1},
		"at the limit":                 {1, nil, map[deploy.Feature]error{deploy.Resources: no}, true, 1},
		"another list is tried still":  {1, nil, map[deploy.Feature]error{deploy.Resources: no, deploy.Kustomize: pending}, false, 1},
		"another list waits for it":    {1, nil, map[deploy.Feature]error{deploy.Resources: no, deploy.Helm: waiting}, true, 1},
		"what is on its way":           {1, nil, map[deploy.Feature]error{deploy.Resources: pending}, false, 0},
		"nothing is wrong with a list": {1, func(o *outcome) { o.err = no }, nil, false, 0},
		"something was not pruned":     {1, func(o *outcome) { o.result.Err = no }, nil, false, 0},
		"a success":                    {1, nil, map[deploy.Feature]error{deploy.Resources: nil}, false, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			o := failing(newMemory(), limited(tc.limit), tc.change, tc.errs)
			if o.final != tc.final || o.inARow[deploy.Resources] != tc.count {
				t.Errorf("final %t after %d", o.final, o.inARow[deploy.Resources])
			}
		})
	}
}

// A new term tries once, and goes on counting where the last one ended.
func TestANewTermTriesOnce(t *testing.T) {
	summary := limited(3)
	summary.Status.ObservedGeneration = summary.Generation
	summary.Status.FeatureSummaries = []configv1beta1.FeatureSummary{{FeatureID: libv1beta1.FeatureResources, ConsecutiveFailures: 3}}
	bad := map[deploy.Feature]error{deploy.Resources: errors.New("no")}
	if o := failing(newMemory(), summary, nil, bad); !o.final || o.inARow[deploy.Resources] != 4 {
		t.Errorf("final %t after %d", o.final, o.inARow[deploy.Resources])
	}
	summary.Generation++
	if o := failing(newMemory(), summary, nil, bad); o.final {
		t.Error("the failures of another spec count")
	}
}

func TestWaitingListsSayLessThanWhatIsWrong(t *testing.T) {
	waiting := error(&deploy.WaitingError{Feature: deploy.Helm, For: deploy.Resources})
	result := deploy.Result{Features: map[deploy.Feature]deploy.FeatureResult{
		deploy.Helm: {Err: waiting}, deploy.Resources: {Err: errors.New("no")},
	}}
	if err := resultError(result); err == nil || err.Error() != "no" || reasonOf(err) != configv1beta1.ReasonFailed {
		t.Errorf("error %v", err)
	}
	if reason := reasonOf(waiting); reason != configv1beta1.ReasonProvisioning {
		t.Errorf("a list that waits is %s", reason)
	}
}
