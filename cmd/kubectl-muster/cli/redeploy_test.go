// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned/fake"
)

func TestRedeployMarksWhatIsOnTheClusterAndNothingElse(t *testing.T) {
	web, other := deployment("ClusterProfile", "web", "one", configv1beta1.ProfileSpec{}), deployment("ClusterProfile", "web", "two", configv1beta1.ProfileSpec{})
	cluster := &libv1beta1.SveltosCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "one"}}
	clients := &clients{muster: fake.NewSimpleClientset(cluster, &web, &other)}
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for range 2 {
		if err := redeployCluster(t.Context(), streams, clients, "civo", "one", now); err != nil {
			t.Fatal(err)
		}
		got, err := clients.muster.ConfigV1beta1().ClusterSummaries("civo").Get(t.Context(), web.Name, metav1.GetOptions{})
		if err != nil || got.Annotations[libv1beta1.AnnotationRetrigger] != now.Format(time.RFC3339Nano) {
			t.Errorf("the annotations are %v, %v; want another value each time", got.Annotations, err)
		}
		now = now.Add(time.Nanosecond)
	}
	if !strings.Contains(out.String(), "civo/one: what 1 profiles deploy is applied again") {
		t.Errorf("it says %q", out)
	}
	got, err := clients.muster.ConfigV1beta1().ClusterSummaries("civo").Get(t.Context(), other.Name, metav1.GetOptions{})
	if err != nil || len(got.Annotations) != 0 {
		t.Errorf("another cluster's annotations are %v, %v", got.Annotations, err)
	}
}

func TestRedeployOfNoCluster(t *testing.T) {
	clients := &clients{muster: fake.NewSimpleClientset()}
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	if err := redeployCluster(t.Context(), streams, clients, "civo", "none", time.Now()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
}
