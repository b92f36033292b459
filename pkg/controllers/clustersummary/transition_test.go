// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
)

// A withdrawal waits until the profile that takes over has asked for what it takes.
func TestAWithdrawalWaitsForItsSuccessor(t *testing.T) {
	leaving := summaryFor("before")
	leaving.Spec.Withdraw = true
	cluster := registration()
	next := summaryFor("next")
	successor := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "next"}}
	successor.Spec.TransitionFrom = "before"
	successor.Spec.ClusterRefs = append(successor.Spec.ClusterRefs, corev1.ObjectReference{Namespace: "civo", Name: "cluster1"})
	elsewhere := successor.DeepCopy()
	elsewhere.Spec.ClusterRefs = nil
	print, err := fingerprint(next, cluster)
	if err != nil {
		t.Fatal(err)
	}
	conflict := error(&deploy.ConflictError{Object: "ConfigMap a", Owner: inventory.OwnerKey{Kind: configv1beta1.KindClusterProfile, Name: "before"}})
	ended := func(print string, err, result error) *outcome {
		return &outcome{uid: next.UID, fingerprint: print, err: err, result: deploy.Result{Features: map[deploy.Feature]deploy.FeatureResult{deploy.Resources: {Err: result}}}}
	}
	once := next.DeepCopy()
	once.Spec.ClusterProfileSpec.SyncMode = configv1beta1.SyncModeOneTime
	once.Status.Conditions = []metav1.Condition{provisioned(once.Generation)}
	going := next.DeepCopy()
	going.Spec.Withdraw = true
	for name, tc := range map[string]struct {
		objects []client.Object
		last    *outcome
		waits   bool
	}{
		"nobody takes over":                 {nil, nil, false},
		"the successor is for another":      {[]client.Object{elsewhere}, nil, false},
		"it has no summary yet":             {[]client.Object{successor}, nil, true},
		"its summary is being withdrawn":    {[]client.Object{successor, going}, ended(print, nil, nil), true},
		"it has not been deployed":          {[]client.Object{successor, next}, nil, true},
		"it was deployed as it was":         {[]client.Object{successor, next}, ended("other", nil, nil), true},
		"the cluster could not be reached":  {[]client.Object{successor, next}, ended(print, errors.New("no"), nil), true},
		"a source of it is missing":         {[]client.Object{successor, next}, ended(print, nil, errors.Join(conflict, errors.New("missing"))), true},
		"it waits for what is to be let go": {[]client.Object{successor, next}, ended(print, nil, errors.Join(conflict, conflict)), false},
		"a release of it waits too":         {[]client.Object{successor, next}, ended(print, nil, errors.Join(&deploy.ReleaseError{Err: conflict}, conflict)), false},
		"a chart of it is missing":          {[]client.Object{successor, next}, ended(print, nil, &deploy.ReleaseError{Err: errors.New("missing")}), true},
		"it has all that it wants":          {[]client.Object{successor, next}, ended(print, nil, nil), false},
		"it has given up waiting":           {[]client.Object{successor, next}, ended(print, nil, &finalError{1, errors.Join(conflict, conflict)}), false},
		"it was deployed its one time":      {[]client.Object{successor, once}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Options{Client: newClient(t, append(tc.objects, leaving)...), Live: newClient(t, cluster)})
			if tc.last != nil {
				r.memory.end(client.ObjectKeyFromObject(next), *tc.last)
			}
			err := r.awaitSuccessors(t.Context(), leaving, inventory.OwnerKey{Kind: configv1beta1.KindClusterProfile, Name: "before"})
			var waiting *successorError
			if errors.As(err, &waiting) != tc.waits || !tc.waits && err != nil {
				t.Errorf("error %v", err)
			}
			if tc.waits && reasonOf(err) != configv1beta1.ReasonProvisioning {
				t.Errorf("reason %s", reasonOf(err))
			}
		})
	}
}

func TestTheEndOfAJobWakesWhatWaitsForIt(t *testing.T) {
	before, next := summaryFor("before"), summaryFor("next")
	next.Spec.ClusterProfileSpec.TransitionFrom = "before"
	for _, leaving := range []bool{false, true} {
		before.Spec.Withdraw = leaving
		r := New(Options{Client: newClient(t, before, next), Trigger: trigger.New[reconcile.Request]()})
		r.wakePredecessor(t.Context(), next)
		if _, due := r.memory.last(types.NamespacedName{Namespace: "civo", Name: before.Name}, before.UID); due != leaving {
			t.Errorf("woken: %t, being withdrawn: %t", due, leaving)
		}
	}
}
