// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// In mode DryRun nothing is withdrawn: what would be is reported. When the mode changes,
// it is.
func TestATrialWithdrawsNothing(t *testing.T) {
	key := Key{Kind: configv1beta1.KindClusterProfile, Name: "kyverno"}
	name := client.ObjectKey{Namespace: "civo", Name: summaryName(key, "cluster1")}
	p := everywhere("kyverno")
	r, stored := newReconciler(t, fleetOf{"cluster1"}, p)
	reconcile := func() {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	// show does what the server does: it fills in the spec of the summary's revision.
	show := func() *configv1beta1.ClusterSummary {
		t.Helper()
		summary := &configv1beta1.ClusterSummary{}
		if err := stored.Get(t.Context(), name, summary); err != nil {
			t.Fatal(err)
		}
		shown, err := r.Revisions.Get(t.Context(), summary.Spec.ProfileRevision)
		if err != nil {
			t.Fatal(err)
		}
		summary.Spec.ClusterProfileSpec = *shown.Spec
		if err := stored.Update(t.Context(), summary); err != nil {
			t.Fatal(err)
		}
		return summary
	}
	change := func(mode configv1beta1.SyncMode, members ...string) {
		t.Helper()
		if err := stored.Get(t.Context(), client.ObjectKey{Name: "kyverno"}, p); err != nil {
			t.Fatal(err)
		}
		p.Spec.SyncMode = mode
		if err := stored.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		r.Members = fleetOf(members)
		reconcile()
	}
	reconcile()
	show()

	change(configv1beta1.SyncModeDryRun)
	summary := show()
	if !summary.Spec.Withdraw || !summary.DeletionTimestamp.IsZero() || summary.Spec.ClusterProfileSpec.SyncMode != configv1beta1.SyncModeDryRun {
		t.Errorf("where it matches no more the summary is %+v", summary.Spec)
	}
	// It matches again: it goes on as if nothing had been.
	change(configv1beta1.SyncModeDryRun, "cluster1")
	if summary = show(); summary.Spec.Withdraw {
		t.Error("where it matches again it is still to be withdrawn")
	}
	change(configv1beta1.SyncModeDryRun)
	show()
	change(configv1beta1.SyncModeContinuous)
	if err := stored.Get(t.Context(), name, summary); !apierrors.IsNotFound(err) {
		t.Errorf("in mode Continuous the summary is left, %v", err)
	}
}
