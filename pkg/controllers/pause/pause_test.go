// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package pause

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func TestOfCluster(t *testing.T) {
	night := &libv1beta1.ActiveWindow{From: "0 22 * * *", To: "0 4 * * *"}
	noon := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name        string
		annotations map[string]string
		spec        libv1beta1.SveltosClusterSpec
		now         time.Time
		want        string
	}{
		{"nothing", nil, libv1beta1.SveltosClusterSpec{}, noon, ""},
		{"spec.paused", nil, libv1beta1.SveltosClusterSpec{Paused: true, ActiveWindow: night}, noon.Add(11 * time.Hour), libv1beta1.ReasonPausedBySpec},
		{"the annotation, whatever its value", map[string]string{libv1beta1.AnnotationPaused: "false"}, libv1beta1.SveltosClusterSpec{}, noon, libv1beta1.ReasonPausedByAnnotation},
		{"by day", nil, libv1beta1.SveltosClusterSpec{ActiveWindow: night}, noon, libv1beta1.ReasonOutsideActiveWindow},
		{"by night", nil, libv1beta1.SveltosClusterSpec{ActiveWindow: night}, noon.Add(11 * time.Hour), ""},
		{"a window that nobody can read", nil, libv1beta1.SveltosClusterSpec{ActiveWindow: &libv1beta1.ActiveWindow{From: "?", To: "?!"}}, noon, libv1beta1.ReasonOutsideActiveWindow},
	} {
		cluster := &libv1beta1.SveltosCluster{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations}, Spec: test.spec}
		if got := OfCluster(cluster, test.now); got.Word != test.want || got.Paused() != (test.want != "") {
			t.Errorf("%s: %+v, want %q", test.name, got, test.want)
		}
	}
}

func TestOfSummary(t *testing.T) {
	with := func(keys ...string) map[string]string {
		out := map[string]string{}
		for _, key := range keys {
			out[key] = ""
		}
		return out
	}
	for _, test := range []struct {
		name             string
		summary, profile map[string]string
		want             string
	}{
		{"nothing", nil, nil, ""},
		{"the summary", with(libv1beta1.AnnotationPaused), nil, "this summary"},
		{"the profile", nil, with(libv1beta1.AnnotationProfilePaused), "the profile"},
		{"the profile, as all of its summaries", nil, with(libv1beta1.AnnotationPaused), "the profile"},
		{"an annotation that means nothing there", with(libv1beta1.AnnotationProfilePaused), nil, ""},
	} {
		summary := &configv1beta1.ClusterSummary{ObjectMeta: metav1.ObjectMeta{Annotations: test.summary}}
		profile := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Annotations: test.profile}}
		got := OfSummary(summary, profile)
		if got.Paused() != (test.want != "") || !strings.HasPrefix(got.Text, test.want) {
			t.Errorf("%s: %+v, want %q", test.name, got, test.want)
		}
	}
	if got := OfSummary(&configv1beta1.ClusterSummary{}, nil); got.Paused() {
		t.Errorf("a summary without a profile is paused: %+v", got)
	}
}
