// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/muster-project/muster/pkg/apis/config"
	configv1alpha1 "github.com/muster-project/muster/pkg/apis/config/v1alpha1"
	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/registry"
	"github.com/muster-project/muster/pkg/registry/registrytest"
)

func TestSpecAndStatusAreIsolated(t *testing.T) {
	registrytest.Isolation(t, kind, func() *config.ClusterSummary { return &config.ClusterSummary{} })
}

func TestResetFieldsAreReportedForEveryVersion(t *testing.T) {
	main, status := newStrategies(nil)
	registrytest.ResetFields(t, config.GroupName, main, status)
}

func TestSelectableFields(t *testing.T) {
	got := selectable(newSummary())
	want := fields.Set{"spec.clusterNamespace": "civo", "spec.clusterName": "c1", "spec.clusterType": "Sveltos"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	registrytest.Selectable(t, config.SchemeGroupVersion.WithKind("ClusterSummary").GroupKind(), got)
}

const storedRevision = "ClusterProfile/_/p/1"

// profileSpec is the profile's, with a selector that has two forms at v1alpha1.
func profileSpec() *config.ProfileSpec {
	return &config.ProfileSpec{
		ClusterSelector: lib.Selector{LabelSelector: metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"prod"}}},
		}},
		SetRefs:              []string{"prod"},
		SyncMode:             config.SyncModeContinuous,
		Tier:                 100,
		StopMatchingBehavior: config.WithdrawPolicies,
		ClusterRefs:          []corev1.ObjectReference{{APIVersion: lib.ClusterAPIVersion("v1beta1"), Kind: "SveltosCluster", Namespace: "civo", Name: "c9"}},
	}
}

func newSummary() *config.ClusterSummary {
	return &config.ClusterSummary{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "p-sveltos-c1", Generation: 3, UID: "u", ResourceVersion: "5"},
		Spec: config.ClusterSummarySpec{
			ClusterNamespace: "civo", ClusterName: "c1", ClusterType: lib.ClusterTypeSveltos,
			ProfileRevision: storedRevision,
			MatchedBy:       []config.MatchCause{{Kind: config.MatchCauseClusterSet, Name: "prod"}},
		},
	}
}

func newStrategies(revisions Revisions) (strategy, statusStrategy) {
	main, status := registry.NewStrategies(scheme.Scheme, kind)
	return strategy{Strategy: main, revisions: revisions}, statusStrategy{StatusStrategy: status}
}

func as(t *testing.T, name string, groups ...string) context.Context {
	ctx := request.WithNamespace(t.Context(), "civo")
	return request.WithUser(ctx, &user.DefaultInfo{Name: name, Groups: groups})
}

// stored is a summary as it comes out of storage, where defaulting has given it
// the marks of an empty profile.
func stored(t *testing.T) *config.ClusterSummary {
	t.Helper()
	encoded, err := runtime.Encode(scheme.StorageCodec(), newSummary())
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := runtime.Decode(scheme.StorageCodec(), encoded)
	if err != nil {
		t.Fatal(err)
	}
	return decoded.(*config.ClusterSummary)
}

// throughVersion is a summary as a client at a version reads it and sends it
// back.
func throughVersion(t *testing.T, summary *config.ClusterSummary, version schema.GroupVersion) *config.ClusterSummary {
	t.Helper()
	codec := scheme.Codecs.LegacyCodec(version)
	encoded, err := runtime.Encode(codec, summary)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := runtime.Decode(codec, encoded)
	if err != nil {
		t.Fatal(err)
	}
	return decoded.(*config.ClusterSummary)
}

func TestOnlyTheServerMakesSummaries(t *testing.T) {
	main, _ := newStrategies(fixed{storedRevision: profileSpec()})
	tests := map[string]struct {
		ctx     context.Context
		refused bool
	}{
		"the server":       {ctx: as(t, user.APIServerUser, user.SystemPrivilegedGroup)},
		"an administrator": {ctx: as(t, "kubernetes-admin", user.SystemPrivilegedGroup), refused: true},
		"a user":           {ctx: as(t, "jane"), refused: true},
		"nobody":           {ctx: request.WithNamespace(t.Context(), "civo"), refused: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			errs := main.Validate(test.ctx, newSummary())
			if refused := len(errs) > 0; refused != test.refused {
				t.Errorf("errors are %v", errs)
			}
			if test.refused && !strings.Contains(errs.ToAggregate().Error(), "create a ClusterProfile or a Profile") {
				t.Errorf("%v does not say what to do", errs)
			}
		})
	}
}

func TestUsersChangeMetadataAlone(t *testing.T) {
	shown := func() *config.ClusterSummary {
		s := stored(t)
		s.Spec.ClusterProfileSpec = *profileSpec()
		return s
	}
	tests := map[string]struct {
		sent    *config.ClusterSummary
		change  func(*config.ClusterSummary)
		refused string
	}{
		"a label, through a patch": {
			sent:   stored(t),
			change: func(s *config.ClusterSummary) { s.Labels = map[string]string{"a": "b"} },
		},
		"what was shown at v1beta1": {sent: throughVersion(t, shown(), configv1beta1.SchemeGroupVersion)},
		// "env in (prod)" comes back as env=prod.
		"what was shown at v1alpha1": {sent: throughVersion(t, shown(), configv1alpha1.SchemeGroupVersion)},
		"another cluster": {
			sent:    stored(t),
			change:  func(s *config.ClusterSummary) { s.Spec.ClusterName = "c2" },
			refused: "spec",
		},
		"another revision": {
			sent:    stored(t),
			change:  func(s *config.ClusterSummary) { s.Spec.ProfileRevision = "x" },
			refused: "spec",
		},
		"withdrawal": {
			sent:    stored(t),
			change:  func(s *config.ClusterSummary) { s.Spec.Withdraw = true },
			refused: "spec",
		},
		"another tier, through a patch": {
			sent:    stored(t),
			change:  func(s *config.ClusterSummary) { s.Spec.ClusterProfileSpec.Tier = 1 },
			refused: "spec.clusterProfileSpec",
		},
		"another tier in what was shown": {
			sent:    shown(),
			change:  func(s *config.ClusterSummary) { s.Spec.ClusterProfileSpec.Tier = 1 },
			refused: "spec.clusterProfileSpec",
		},
		"another selector in what was shown": {
			sent: shown(),
			change: func(s *config.ClusterSummary) {
				s.Spec.ClusterProfileSpec.ClusterSelector = lib.Selector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "test"}}}
			},
			refused: "spec.clusterProfileSpec",
		},
	}
	main, _ := newStrategies(fixed{storedRevision: profileSpec()})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.change != nil {
				test.change(test.sent)
			}
			errs := main.ValidateUpdate(as(t, "jane"), test.sent, stored(t))
			switch {
			case test.refused == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs)
			case test.refused != "" && (len(errs) != 1 || errs[0].Field != test.refused):
				t.Errorf("errors are %v, want one about %s", errs, test.refused)
			}
		})
	}
}

func TestTheServerWritesSpecs(t *testing.T) {
	main, _ := newStrategies(fixed{storedRevision: profileSpec()})
	sent := stored(t)
	sent.Spec.ProfileRevision = "ClusterProfile/_/p/2"
	sent.Spec.Withdraw = true
	// A controller writes back what it read, the former revision's spec included.
	sent.Spec.ClusterProfileSpec = *profileSpec()
	ctx := as(t, user.APIServerUser, user.SystemPrivilegedGroup)
	main.PrepareForUpdate(ctx, sent, stored(t))
	if errs := main.ValidateUpdate(ctx, sent, stored(t)); len(errs) > 0 {
		t.Errorf("refused: %v", errs)
	}
	if sent.Generation != 4 {
		t.Errorf("a new revision has generation %d, want 4", sent.Generation)
	}
}

// The shown spec is no part of the object: writing it back is no change.
func TestWritingBackWhatWasShownIsNoNewGeneration(t *testing.T) {
	main, _ := newStrategies(fixed{storedRevision: profileSpec()})
	sent := stored(t)
	sent.Spec.ClusterProfileSpec = *profileSpec()
	main.PrepareForUpdate(as(t, "jane"), sent, stored(t))
	if sent.Generation != 3 {
		t.Errorf("generation is %d, want 3", sent.Generation)
	}
}

func TestTheProfilesSpecIsNotStored(t *testing.T) {
	main, status := newStrategies(fixed{storedRevision: profileSpec()})
	for name, canonicalize := range map[string]func(runtime.Object){"main": main.Canonicalize, "status": status.Canonicalize} {
		summary := stored(t)
		summary.Spec.ClusterProfileSpec = *profileSpec()
		canonicalize(summary)
		encoded, err := runtime.Encode(scheme.StorageCodec(), summary)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(encoded), "clusterProfileSpec") {
			t.Errorf("%s: stored as %s", name, encoded)
		}
	}
}
