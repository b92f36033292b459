// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/revision"
)

// revise stores what the profile is as a revision, and notes in the history that it
// is that now. It returns the revision's name, and whether either is new.
func (r *Reconciler) revise(ctx context.Context, p profile, summaries []configv1beta1.ClusterSummary) (name string, created bool, err error) {
	if r.History == nil {
		return r.Revisions.Ensure(ctx, p.key(), p.spec, r.Now())
	}
	entry := history.Entry{Cause: history.CauseSpec, Time: r.Now().UTC()}
	if entry.Spec, err = revision.Name(p.key(), p.spec); err != nil {
		return "", false, err
	}
	pinned, err := r.pinned(ctx, p, entry.Spec)
	if err != nil {
		return "", false, err
	}
	if pinned != nil {
		entry.Cause, entry.ContentsOf = history.CauseRollback, pinned.Of
		for _, pin := range pinned.Pins {
			entry.Sources = append(entry.Sources, history.Source{Kind: pin.Kind, Namespace: pin.Namespace, Name: pin.Name, Digest: pin.Digest})
		}
	}
	if name, created, err = r.Revisions.EnsurePinned(ctx, p.key(), p.spec, pinned, r.Now()); err != nil {
		return "", false, err
	}
	entry.Revision = name
	begun, err := r.History.Begin(ctx, p.key(), entry, func(ctx context.Context) string { return r.author(ctx, p) }, inUse(summaries))
	return name, created || begun, err
}

// pinned are the contents that the profile's annotation asks for, nil if it asks for
// none. An annotation that is not about the spec that the profile has is taken away:
// the rollback that it was part of has ended.
func (r *Reconciler) pinned(ctx context.Context, p profile, spec string) (*revision.Contents, error) {
	value, asked := p.GetAnnotations()[configv1beta1.AnnotationContentsOf]
	if !asked {
		return nil, nil
	}
	recorded, err := r.History.Profile(ctx, p.key())
	if err != nil && !errors.Is(err, history.ErrNotFound) {
		return nil, err
	}
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil || recorded == nil {
		return nil, r.unpin(ctx, p, "no such revision")
	}
	entry, found := recorded.Entry(number)
	if !found {
		return nil, r.unpin(ctx, p, "revision "+value+" is not in the history")
	}
	if entry.Spec != spec {
		return nil, r.unpin(ctx, p, "the spec is not that of revision "+value)
	}
	if latest := recorded.Entries[len(recorded.Entries)-1]; latest.ContentsOf == number && latest.Spec == spec {
		// A cluster that is behind may still add to the former revision: what the
		// rollback began with is what it has.
		if begun, err := r.Revisions.Get(ctx, latest.Revision); err == nil && begun.Pinned != nil {
			return begun.Pinned, nil
		}
	}
	contents := &revision.Contents{Of: number, Salt: recorded.Salt}
	for _, source := range entry.Sources {
		contents.Pins = append(contents.Pins, revision.Pin{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name, Digest: source.Digest})
	}
	return contents, nil
}

// unpin ends a rollback.
func (r *Reconciler) unpin(ctx context.Context, p profile, why string) error {
	before := p.deepCopy()
	annotations := p.GetAnnotations()
	delete(annotations, configv1beta1.AnnotationContentsOf)
	p.SetAnnotations(annotations)
	patch := client.MergeFromWithOptions(before.Object, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.Object, patch); err != nil {
		return fmt.Errorf("removing annotation %s of %s %s: %w", configv1beta1.AnnotationContentsOf, p.kind, p.GetName(), err)
	}
	r.Events.Eventf(p.Object, nil, corev1.EventTypeNormal, "RollbackEnded", "Deploy",
		"What sources hold now is deployed, and not what they held before: %s", why)
	return nil
}

// inUse are the revisions that summaries still have.
func inUse(summaries []configv1beta1.ClusterSummary) map[string]bool {
	out := map[string]bool{}
	for i := range summaries {
		out[summaries[i].Spec.ProfileRevision] = true
	}
	return out
}

// author is the field manager that wrote the profile's spec last, as far as it is
// known. The cache has no managed fields.
func (r *Reconciler) author(ctx context.Context, p profile) string {
	stored, err := get(ctx, r.Live, p.key())
	if err != nil {
		klog.FromContext(ctx).V(2).Info("The author of a profile is not known", "error", err)
		return ""
	}
	name := ""
	var latest int64
	for _, managed := range stored.GetManagedFields() {
		if managed.Subresource != "" || managed.FieldsV1 == nil || managed.Time == nil ||
			managed.Time.Unix() < latest || !strings.Contains(managed.FieldsV1.GetRawString(), `"f:spec"`) {
			continue
		}
		name, latest = managed.Manager, managed.Time.Unix()
	}
	return name
}
