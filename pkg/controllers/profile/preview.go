// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/fleet"
)

// Reach is where a profile goes now.
type Reach struct {
	Spec *configv1beta1.ProfileSpec
	// As is the tenant that it is deployed for, zero for none.
	As fleet.Identity
	// Matching are the clusters that it is for, in their order; none if it is being
	// deleted. Others are those that it has something on all the same.
	Matching, Others []fleet.Ref
}

// Reach finds out where a profile goes, and writes nothing: any replica can answer. The
// error wraps report.ErrNoProfile if there is no such profile.
func (r *Reconciler) Reach(ctx context.Context, key Key) (Reach, error) {
	p, err := get(ctx, r.Live, key)
	if apierrors.IsNotFound(err) {
		return Reach{}, report.ErrNoProfile
	}
	if err != nil {
		return Reach{}, fmt.Errorf("reading %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	summaries, err := r.storedSummaries(ctx, key)
	if err != nil {
		return Reach{}, err
	}
	out := Reach{Spec: p.spec}
	if account := tenantOf(p.Object); account != nil {
		out.As = fleet.Identity{ServiceAccountNamespace: account.Namespace, ServiceAccountName: account.Name}
	}
	matched := map[fleet.Ref]bool{}
	if p.GetDeletionTimestamp().IsZero() {
		m, err := r.matching(ctx, p, summaries)
		if err != nil {
			return Reach{}, err
		}
		for _, c := range m.clusters {
			out.Matching = append(out.Matching, c.member.Ref)
			matched[c.member.Ref] = true
		}
	}
	for i := range summaries {
		if ref := clusterref.OfSummary(&summaries[i]); !matched[ref] {
			out.Others = append(out.Others, ref)
		}
	}
	return out, nil
}
