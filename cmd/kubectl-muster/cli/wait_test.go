// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clienttesting "k8s.io/client-go/testing"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned/fake"
)

// web is a profile at generation 2 with these conditions.
func web(conditions ...metav1.Condition) *configv1beta1.ClusterProfile {
	p := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 2}}
	p.Status.Conditions = conditions
	return p
}

func condition(conditionType string, status metav1.ConditionStatus, reason, message string, generation int64) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message, ObservedGeneration: generation}
}

var (
	isReady   = condition(configv1beta1.ConditionReady, metav1.ConditionTrue, "Provisioned", "2 of 2 clusters have everything", 2)
	isWorking = condition(configv1beta1.ConditionReady, metav1.ConditionFalse, "Provisioning", "1 of 2 clusters have everything", 2)
	isStalled = condition(libv1beta1.ConditionStalled, metav1.ConditionTrue, "Failed", "ConfigMap apps/web is missing", 2)
)

func TestWaitEnds(t *testing.T) {
	before := isReady
	before.ObservedGeneration = 1
	tests := map[string]struct {
		profile *configv1beta1.ClusterProfile
		change  *configv1beta1.ClusterProfile // after the wait has begun
		code    int
		says    string
		out     string
	}{
		"at once":                    {profile: web(isReady), out: "Provisioned: 2 of 2"},
		"when it is ready":           {profile: web(isWorking), change: web(isReady), out: "Provisioning: 1 of 2 clusters have everything\nProvisioned: 2 of 2"},
		"not for a former spec":      {profile: web(before), change: web(isReady), out: "not looked at yet\nProvisioned"},
		"when it is stuck":           {profile: web(isWorking, isStalled), code: exitStalled, says: "apps/web is missing"},
		"not if it is stuck briefly": {profile: web(isWorking, isStalled), change: web(isReady), out: "Provisioned"},
		"in time":                    {profile: web(isWorking), code: exitTimeout, says: "1 of 2 clusters"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewSimpleClientset(test.profile)
			streams, _, out, _ := genericiooptions.NewTestIOStreams()
			w := &profileWait{IOStreams: streams, flags: hostFlags(), timeout: time.Minute, patience: time.Millisecond}
			switch {
			case test.code == exitTimeout:
				w.timeout = 10 * time.Millisecond
			case test.change != nil:
				w.patience = time.Minute
				// It takes one event, when somebody watches.
				changes := watch.NewFakeWithChanSize(1, false)
				changes.Modify(test.change)
				client.PrependWatchReactor("clusterprofiles", clienttesting.DefaultWatchReactor(changes, nil))
			}
			err := w.run(t.Context(), &clients{muster: client}, "web")
			var exit *ExitError
			code := 0
			if errors.As(err, &exit) {
				code = exit.Code
			}
			if code != test.code || (err != nil) != (test.code != 0) || (err != nil && !strings.Contains(err.Error(), test.says)) {
				t.Errorf("exit status %d, %v; want %d and %q", code, err, test.code, test.says)
			}
			if !strings.Contains(out.String(), test.out) {
				t.Errorf("it says %q, want %q", out, test.out)
			}
		})
	}
}

func TestWaitForNothing(t *testing.T) {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	w := &profileWait{IOStreams: streams, flags: hostFlags(), timeout: time.Minute}
	if err := w.run(t.Context(), &clients{muster: fake.NewSimpleClientset()}, "web"); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("error %v", err)
	}
}
