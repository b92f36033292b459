// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

// lagging knows of no cluster before it was waited for.
type lagging struct{ current []fleet.Member }

func (l *lagging) Members(labels.Selector, string) []fleet.Member { return l.current }
func (l *lagging) Member(fleet.Ref) (fleet.Member, bool)          { return fleet.Member{}, false }

// A cluster's event and the index come through different watches. Who reads the
// index for that event before it has caught up misses it for good.
func TestMatchingWaitsForTheIndex(t *testing.T) {
	index := &lagging{}
	r := &Reconciler{Members: index, WaitCurrent: func(context.Context) (int64, error) {
		index.current = []fleet.Member{{Ref: clusterref.Of("ns", "c"), EverReady: true}}
		return 1, nil
	}}
	p := ofClusterProfile(&configv1beta1.ClusterProfile{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       configv1beta1.ProfileSpec{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
	})
	m, err := r.matching(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.clusters) != 1 {
		t.Errorf("the profile is for %v, want the cluster that the store has", m.clusters)
	}
}
