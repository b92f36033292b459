// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// Whoever asks what a profile would change has no cache, and no index in one: a profile
// that another one depends on is no exception.
func TestReachNeedsNoCache(t *testing.T) {
	r, stored := newReconciler(t, oneCluster{}, dependingOn("app", "database"), nowhere(dependingOn("database")))
	reconcileAll(t, r, "app", "database")
	var objects []client.Object
	for _, list := range []client.ObjectList{&configv1beta1.ClusterProfileList{}, &configv1beta1.ClusterSummaryList{}} {
		if err := stored.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		switch list := list.(type) {
		case *configv1beta1.ClusterProfileList:
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
		case *configv1beta1.ClusterSummaryList:
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
		}
	}
	direct := fake.NewClientBuilder().WithScheme(stored.Scheme()).WithObjects(objects...).Build()
	asked := &Reconciler{Client: direct, Live: direct, Uncached: true, Members: r.Members, WaitCurrent: r.WaitCurrent, Revisions: r.Revisions}
	reach, err := asked.Reach(t.Context(), Key{Kind: configv1beta1.KindClusterProfile, Name: "database"})
	if err != nil {
		t.Fatal(err)
	}
	if len(reach.Matching) != 1 || reach.Matching[0].Name != "cluster1" {
		t.Errorf("the profile is for %v, want the cluster of what depends on it", reach.Matching)
	}
}

// What a rollback deploys is not what the sources hold, and that is what would change.
func TestReachKnowsOfARollback(t *testing.T) {
	r := newRemembering(t)
	pinned := func() int64 {
		t.Helper()
		reach, err := r.Reach(t.Context(), webKey)
		if err != nil {
			t.Fatal(err)
		}
		if reach.Pinned == nil {
			return 0
		}
		return reach.Pinned.Of
	}
	r.change(tier(1))
	r.deployed("a")
	r.change(tier(2))
	r.deployed("b")
	if of := pinned(); of != 0 {
		t.Errorf("before a rollback the contents are those of %d", of)
	}
	r.change(contentsOf("1", tier(1)))
	if of := pinned(); of != 1 {
		t.Errorf("rolled back to 1, the contents are those of %d", of)
	}
	r.change(tier(3))
	if of := pinned(); of != 0 {
		t.Errorf("after the rollback the contents are those of %d", of)
	}
}
