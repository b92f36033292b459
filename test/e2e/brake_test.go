// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// halted checks the condition that persists the brake.
func (s *scope) halted(status metav1.ConditionStatus) func(context.Context) error {
	return func(ctx context.Context) error {
		set, err := s.muster.LibV1beta1().ClusterSets().Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return condition(set.Status.Conditions, libv1beta1.ConditionFailoverHalted, status, "")
	}
}

// When most of the fleet seems to die at once, the fault is more likely here:
// nothing moves, although a healthy cluster is there, until a person says so. One
// of the clusters is registered four times: when it dies, four of six do, whatever
// the order in which that is noticed.
func TestBrake(t *testing.T) {
	s := newScope(t).breaks()
	for _, cluster := range clusterNames() {
		s.register(cluster, s.labels())
	}
	s.applySet()
	active := s.awaitOneSelected(s.name)
	other := clusterNames()[0]
	if other == active {
		other = clusterNames()[1]
	}
	for range 3 {
		twin := newScope(t)
		twin.register(other, nil)
		twin.awaitReady(other, true)
	}
	s.proxy(other, fleet.Refuse)
	s.eventually("the set is halted", failoverSoon, s.halted(metav1.ConditionTrue))
	s.proxy(active, fleet.Refuse)
	s.awaitReady(active, false)
	s.always(active+" stays selected", 5*time.Second, func(ctx context.Context) error {
		set, err := s.muster.LibV1beta1().ClusterSets().Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if refs := set.Status.SelectedClusterRefs; len(refs) != 1 || refs[0].Name != active {
			return fmt.Errorf("selected: %s", asJSON(refs))
		}
		return s.hasReason(s.name, active, libv1beta1.SelectionHeld)(ctx)
	})

	s.kubectl("annotate", "clusterset", s.name, libv1beta1.AnnotationIgnoreBrake+"=true")
	s.eventually("the set has moved", failoverSoon, func(ctx context.Context) error {
		if err := s.halted(metav1.ConditionFalse)(ctx); err != nil {
			return err
		}
		set, err := s.muster.LibV1beta1().ClusterSets().Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if refs := set.Status.SelectedClusterRefs; len(refs) != 1 || refs[0].Name == active {
			return fmt.Errorf("selected: %s", asJSON(refs))
		}
		return nil
	})
}
