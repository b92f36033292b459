// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

// Brake is the fleet's brake, and whom to tell when it says something new.
type Brake struct {
	brake *fleet.Brake
	// changed is called when sets have to stop, or may move again.
	changed func()
}

// NewBrake returns the brake as the stored fleet has it: a new term goes on where
// the last one ended. changed is called, by whoever tells the brake something,
// when sets have to stop or may move again; it must not block.
func NewBrake(ctx context.Context, reader client.Reader, clock clock.PassiveClock, changed func()) (*Brake, error) {
	clusters := &libv1beta1.SveltosClusterList{}
	if err := reader.List(ctx, clusters); err != nil {
		return nil, fmt.Errorf("listing SveltosClusters: %w", err)
	}
	known := make(map[fleet.Ref]fleet.Health, len(clusters.Items))
	for i := range clusters.Items {
		cluster := &clusters.Items[i]
		known[clusterref.Of(cluster.Namespace, cluster.Name)] = healthOf(cluster)
	}
	engaged, err := anySetHalted(ctx, reader)
	if err != nil {
		return nil, err
	}
	return &Brake{brake: fleet.NewBrake(clock, engaged, known), changed: changed}, nil
}

// anySetHalted reads whether the brake was on from where it is persisted.
func anySetHalted(ctx context.Context, reader client.Reader) (bool, error) {
	clusterSets := &libv1beta1.ClusterSetList{}
	if err := reader.List(ctx, clusterSets); err != nil {
		return false, fmt.Errorf("listing ClusterSets: %w", err)
	}
	for i := range clusterSets.Items {
		if meta.IsStatusConditionTrue(clusterSets.Items[i].Status.Conditions, libv1beta1.ConditionFailoverHalted) {
			return true, nil
		}
	}
	sets := &libv1beta1.SetList{}
	if err := reader.List(ctx, sets); err != nil {
		return false, fmt.Errorf("listing Sets: %w", err)
	}
	for i := range sets.Items {
		if meta.IsStatusConditionTrue(sets.Items[i].Status.Conditions, libv1beta1.ConditionFailoverHalted) {
			return true, nil
		}
	}
	return false, nil
}

// Halted reports whether sets must move nothing.
func (b *Brake) Halted() bool { return b.brake.State().Halted }

// Observe takes a cluster's health into account.
func (b *Brake) Observe(ref fleet.Ref, health fleet.Health) {
	before := b.Halted()
	if b.brake.Observe(ref, health) != before {
		b.changed()
	}
}

// Forget drops a cluster that is no longer registered.
func (b *Brake) Forget(ref fleet.Ref) {
	before := b.Halted()
	b.brake.Forget(ref)
	if b.Halted() != before {
		b.changed()
	}
}
