// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
)

// Reach is where a profile goes now.
type Reach struct {
	Spec *configv1beta1.ProfileSpec
	// As is the tenant that it is deployed for, zero for none.
	As fleet.Identity
	// Pinned are the contents that a rollback has it deployed with, nil for those that
	// its sources have.
	Pinned *revision.Contents
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
	if out.Pinned, err = r.pinnedNow(ctx, p, summaries); err != nil {
		return Reach{}, err
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

// pinnedNow are the contents that a profile is deployed with because of a rollback, as the
// leader has begun it: nil where there is none.
func (r *Reconciler) pinnedNow(ctx context.Context, p profile, summaries []configv1beta1.ClusterSummary) (*revision.Contents, error) {
	value, asked := p.GetAnnotations()[configv1beta1.AnnotationContentsOf]
	if !asked {
		return nil, nil
	}
	spec, err := revision.Name(p.key(), p.spec)
	if err != nil {
		return nil, err
	}
	for name := range inUse(summaries) {
		known, err := r.Revisions.Get(ctx, name)
		if errors.Is(err, revision.ErrNotFound) || errors.Is(err, revision.ErrDamaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		of, err := revision.Name(p.key(), known.Spec)
		if err != nil {
			return nil, err
		}
		if of == spec && known.Pinned != nil && strconv.FormatInt(known.Pinned.Of, 10) == value {
			return known.Pinned, nil
		}
	}
	return nil, nil
}
