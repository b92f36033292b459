// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func TestSuccessorsAreForTheCluster(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{libv1beta1.AddToScheme, configv1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cluster := &libv1beta1.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "c1", Labels: map[string]string{"env": "prod"}},
		Status:     libv1beta1.SveltosClusterStatus{Conditions: []metav1.Condition{{Type: libv1beta1.ConditionHasBeenReady, Status: metav1.ConditionTrue}}},
	}
	reference := corev1.ObjectReference{Namespace: "civo", Name: "c1"}
	named := func(name, from string, change func(*configv1beta1.ProfileSpec)) client.Object {
		p := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: configv1beta1.ProfileSpec{TransitionFrom: from}}
		change(&p.Spec)
		return p
	}
	byReference := func(s *configv1beta1.ProfileSpec) { s.ClusterRefs = []corev1.ObjectReference{reference} }
	bySelector := func(value string) func(*configv1beta1.ProfileSpec) {
		return func(s *configv1beta1.ProfileSpec) { s.ClusterSelector.MatchLabels = map[string]string{"env": value} }
	}
	set := &libv1beta1.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: "set"}}
	set.Status.ObservedGeneration, set.Status.SelectedClusterRefs = 1, []corev1.ObjectReference{reference}
	empty := &libv1beta1.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: "empty"}}
	empty.Status.ObservedGeneration = 1
	bySet := func(names ...string) func(*configv1beta1.ProfileSpec) {
		return func(s *configv1beta1.ProfileSpec) { s.SetRefs = names }
	}
	going := named("going", "before", byReference)
	now := metav1.Now()
	going.SetDeletionTimestamp(&now)
	going.SetFinalizers([]string{"example.com/hold"})
	namespaced := &configv1beta1.Profile{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "namespaced"}, Spec: configv1beta1.ProfileSpec{TransitionFrom: "before"}}
	byReference(&namespaced.Spec)
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		named("by-reference", "before", byReference), named("by-selector", "before", bySelector("prod")), named("by-set", "before", bySet("empty", "set")),
		named("of-another", "other", byReference), named("of-nobody", "", byReference), named("for-another", "before", bySelector("test")),
		named("for-none", "before", func(*configv1beta1.ProfileSpec) {}), named("by-empty-set", "before", bySet("empty", "missing")),
		going, namespaced, set, empty,
	).Build()
	for _, tc := range []struct {
		of   Key
		want []string
	}{
		{Key{Kind: configv1beta1.KindClusterProfile, Name: "before"}, []string{"by-reference", "by-selector", "by-set"}},
		{Key{Kind: configv1beta1.KindProfile, Namespace: "civo", Name: "before"}, []string{"namespaced"}},
		{Key{Kind: configv1beta1.KindProfile, Namespace: "other", Name: "before"}, nil},
	} {
		found, err := Successors(t.Context(), reader, tc.of, cluster)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, key := range found {
			names = append(names, key.Name)
		}
		if diff := cmp.Diff(tc.want, names); diff != "" {
			t.Errorf("successors of %v (-want +got):\n%s", tc.of, diff)
		}
	}
}

func TestASummaryHasTheTenantOfItsProfile(t *testing.T) {
	const account, home = libv1beta1.LabelServiceAccountName, libv1beta1.LabelServiceAccountNamespace
	for name, tc := range map[string]struct {
		labels map[string]string
		want   *configv1beta1.TenantServiceAccount
	}{
		"none":             {map[string]string{"a": "b"}, nil},
		"a tenant":         {map[string]string{account: "eng", home: "teams"}, &configv1beta1.TenantServiceAccount{Namespace: "teams", Name: "eng"}},
		"half of a tenant": {map[string]string{account: "eng"}, &configv1beta1.TenantServiceAccount{Name: "eng"}},
		"the other half":   {map[string]string{home: "teams"}, &configv1beta1.TenantServiceAccount{Namespace: "teams"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := ofClusterProfile(&configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: tc.labels}})
			current := desiredSummary(p, match{}, "r", nil)
			if diff := cmp.Diff(tc.want, current.Spec.ServiceAccount); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
			relabelled := ofClusterProfile(&configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{account: "x", home: "y"}}})
			if sameSummary(current, desiredSummary(relabelled, match{}, "r", current)) {
				t.Error("another label changes nothing")
			}
		})
	}
}
