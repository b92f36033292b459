// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
)

// Preview says what a pass for a profile would change on a cluster now, or, where the
// profile does not match it any more, what a withdrawal would. It needs no summary, writes
// nothing, and can be asked of any replica.
func (r *Reconciler) Preview(ctx context.Context, owner inventory.Owner, of profile.Reach, ref fleet.Ref, matches bool) (deploy.Preview, error) {
	cluster := &libv1beta1.SveltosCluster{}
	if err := r.Live.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, cluster); err != nil {
		return deploy.Preview{}, fmt.Errorf("reading %s: %w", ref, err)
	}
	target, err := r.connect(ctx, cluster)
	if err != nil {
		return deploy.Preview{}, err
	}
	actor, err := r.actAs(ctx, types.NamespacedName{}, target, of.As)
	if err != nil {
		return deploy.Preview{}, err
	}
	owner.Tier = of.Spec.Tier
	if !matches {
		return r.previewWithdrawal(ctx, actor, owner, deploy.Behavior(of.Spec.StopMatchingBehavior))
	}
	data, err := templateData(cluster)
	if err != nil {
		return deploy.Preview{}, err
	}
	b := r.builder(cluster, actor, owner, data)
	b.observed = r.observe(revision.Revision{Pinned: of.Pinned})
	return r.preview(ctx, actor, b, b.request(ctx, owner, "", "", of.Spec))
}
