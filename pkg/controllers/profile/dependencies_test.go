// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// oneCluster is a fleet of one, which only its label selects.
type oneCluster struct{}

func (oneCluster) Members(s labels.Selector, _ string) []fleet.Member {
	if s.Matches(labels.Set{"a": "b"}) {
		return []fleet.Member{ready("cluster1")}
	}
	return nil
}
func (oneCluster) Member(ref fleet.Ref) (fleet.Member, bool) { return ready(ref.Name), true }

func dependingOn(name string, names ...string) *configv1beta1.ClusterProfile {
	p := everywhere(name)
	p.UID = types.UID(name)
	p.Spec.DependsOn = names
	return p
}

// nowhere is a profile that matches nothing on its own account.
func nowhere(p *configv1beta1.ClusterProfile) *configv1beta1.ClusterProfile {
	p.Spec.ClusterSelector = metav1.LabelSelector{}
	return p
}

func reconcileAll(t *testing.T, r *Reconciler, names ...string) {
	t.Helper()
	for range len(names) + 1 {
		for _, name := range names {
			if _, err := r.Reconcile(t.Context(), Key{Kind: configv1beta1.KindClusterProfile, Name: name}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func summaryNames(t *testing.T, c client.Client) string {
	t.Helper()
	list := &configv1beta1.ClusterSummaryList{}
	if err := c.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		if !list.Items[i].Spec.Withdraw {
			out = append(out, strings.TrimSuffix(list.Items[i].Name, "-sveltos-cluster1"))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// What a profile depends on goes where the profile goes, and no longer than that.
func TestPrerequisitesFollowTheirDependants(t *testing.T) {
	app := dependingOn("app", "database")
	r, stored := newReconciler(t, oneCluster{}, app, nowhere(dependingOn("database", "storage")), nowhere(dependingOn("storage")), nowhere(dependingOn("other")))
	all := []string{"app", "database", "storage", "other"}
	reconcileAll(t, r, all...)
	if got := summaryNames(t, stored); got != "app database storage" {
		t.Fatalf("deployed are %q", got)
	}
	summary := &configv1beta1.ClusterSummary{}
	if err := stored.Get(t.Context(), types.NamespacedName{Namespace: "civo", Name: "storage-sveltos-cluster1"}, summary); err != nil {
		t.Fatal(err)
	}
	if want := cause(configv1beta1.MatchCauseDependant, "app"); len(summary.Spec.MatchedBy) != 1 || summary.Spec.MatchedBy[0] != want {
		t.Errorf("storage is matched by %v, want %v", summary.Spec.MatchedBy, want)
	}
	// Events of the one wake the others.
	app = &configv1beta1.ClusterProfile{}
	owned := &configv1beta1.ClusterSummary{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{
		Kind: configv1beta1.KindClusterProfile, Name: "app", Controller: new(bool),
	}}}}
	*owned.OwnerReferences[0].Controller = true
	owned.Spec.ClusterProfileSpec.DependsOn = []string{"database"}
	if got := r.prerequisites(t.Context(), owned); len(got) != 2 || got[0].Name != "database" || got[1].Name != "storage" {
		t.Errorf("woken are %v, want database and storage", got)
	}
	if err := stored.Get(t.Context(), types.NamespacedName{Name: "app"}, app); err != nil {
		t.Fatal(err)
	}
	app.Spec.ClusterSelector = metav1.LabelSelector{}
	if err := stored.Update(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	reconcileAll(t, r, all...)
	if got := summaryNames(t, stored); got != "" {
		t.Errorf("left are %q", got)
	}
}

// Profiles that depend on each other do not keep each other deployed, and say so.
func TestACycleIsNamed(t *testing.T) {
	r, stored := newReconciler(t, oneCluster{}, dependingOn("a", "b"), nowhere(dependingOn("b", "a")))
	reconcileAll(t, r, "a", "b")
	a := &configv1beta1.ClusterProfile{}
	if err := stored.Get(t.Context(), types.NamespacedName{Name: "a"}, a); err != nil {
		t.Fatal(err)
	}
	condition := meta.FindStatusCondition(a.Status.Conditions, configv1beta1.ConditionDependenciesResolved)
	if condition == nil || condition.Reason != configv1beta1.ReasonDependencyCycle || !strings.Contains(condition.Message, "a → b → a") {
		t.Errorf("the condition is %+v", condition)
	}
	a.Spec.ClusterSelector = metav1.LabelSelector{}
	if err := stored.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	reconcileAll(t, r, "a", "b")
	if got := summaryNames(t, stored); got != "" {
		t.Errorf("left are %q", got)
	}
}

func TestAMissingDependencyIsNamed(t *testing.T) {
	r, stored := newReconciler(t, oneCluster{}, dependingOn("app", "database", "storage"), dependingOn("storage"))
	reconcileAll(t, r, "app")
	p := &configv1beta1.ClusterProfile{}
	if err := stored.Get(t.Context(), types.NamespacedName{Name: "app"}, p); err != nil {
		t.Fatal(err)
	}
	condition := meta.FindStatusCondition(p.Status.Conditions, configv1beta1.ConditionDependenciesResolved)
	if condition == nil || condition.Reason != configv1beta1.ReasonDependencyMissing || !strings.Contains(condition.Message, "database") ||
		strings.Contains(condition.Message, "storage") || len(p.Status.DependenciesHash) == 0 {
		t.Errorf("the condition is %+v", condition)
	}
	if err := stored.Create(t.Context(), dependingOn("database")); err != nil {
		t.Fatal(err)
	}
	reconcileAll(t, r, "app")
	if err := stored.Get(t.Context(), types.NamespacedName{Name: "app"}, p); err != nil {
		t.Fatal(err)
	}
	if !meta.IsStatusConditionTrue(p.Status.Conditions, configv1beta1.ConditionDependenciesResolved) {
		t.Errorf("the conditions are %+v", p.Status.Conditions)
	}
}

// A profile that is paused changes nothing, whatever happens to it.
func TestAPausedProfile(t *testing.T) {
	p := everywhere("web")
	p.Annotations = map[string]string{libv1beta1.AnnotationProfilePaused: "true"}
	r, stored := newReconciler(t, oneCluster{}, p)
	reconcileAll(t, r, "web")
	if got := summaryNames(t, stored); got != "" {
		t.Errorf("deployed are %q", got)
	}
	read := func() {
		t.Helper()
		if err := stored.Get(t.Context(), types.NamespacedName{Name: "web"}, p); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if !p.Status.ReconciliationSuspended || p.Status.SuspensionReason == nil || !meta.IsStatusConditionTrue(p.Status.Conditions, configv1beta1.ConditionPaused) {
		t.Errorf("the status is %+v", p.Status)
	}
	p.Annotations = nil
	if err := stored.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	reconcileAll(t, r, "web")
	read()
	if got := summaryNames(t, stored); got != "web" || p.Status.ReconciliationSuspended || p.Status.SuspensionReason != nil ||
		meta.FindStatusCondition(p.Status.Conditions, configv1beta1.ConditionPaused) != nil {
		t.Errorf("deployed are %q, the status is %+v", got, p.Status)
	}
	p.Annotations = map[string]string{libv1beta1.AnnotationProfilePaused: ""}
	p.Spec.ClusterSelector = metav1.LabelSelector{}
	if err := stored.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	reconcileAll(t, r, "web")
	if got := summaryNames(t, stored); got != "web" {
		t.Errorf("withdrawn while it was paused: %q is left", got)
	}
	if err := stored.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	reconcileAll(t, r, "web")
	if got := summaryNames(t, stored); got != "web" {
		t.Errorf("withdrawn while it was paused and deleted: %q is left", got)
	}
}
