// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/deploy/revision"
)

// dryRunRefresh is how old a report gets: what changes in a cluster that nothing is
// deployed to is not watched.
const dryRunRefresh = time.Minute

// isDryRun reports whether a revision only asks what would change.
func isDryRun(r revision.Revision) bool {
	return r.Spec != nil && r.Spec.SyncMode == configv1beta1.SyncModeDryRun
}

// tryOut finds out what a pass would change, and keeps that as a report. Nothing is
// written to the cluster, and the inventory stays what it is.
func (r *Reconciler) tryOut(ctx context.Context, actor actor, b *requestBuilder, request deploy.Request, o *outcome) error {
	preview, err := r.preview(ctx, actor, b, request)
	if err != nil {
		return err
	}
	return r.keepReport(ctx, actor.target, request.Owner, preview, o)
}

// preview says what a pass would change on a cluster, and on the host for it.
func (r *Reconciler) preview(ctx context.Context, actor actor, b *requestBuilder, request deploy.Request) (deploy.Preview, error) {
	out, err := r.Deployer.Preview(ctx, actor.target, request)
	if err != nil {
		return deploy.Preview{}, err
	}
	work, err := r.localWork(ctx, actor, request, b.local)
	if err != nil {
		return deploy.Preview{}, err
	}
	if work != nil {
		local, err := r.Deployer.Preview(ctx, work.host, work.request)
		if err != nil {
			return deploy.Preview{}, explainHostRights(err)
		}
		out.Add(local)
	}
	return b.maskedPreview(out), nil
}

// previewWithdrawal says what a withdrawal would change on a cluster, and on the host.
func (r *Reconciler) previewWithdrawal(ctx context.Context, actor actor, owner inventory.Owner, behavior deploy.Behavior) (deploy.Preview, error) {
	out, err := r.Deployer.PreviewWithdrawal(ctx, actor.target, owner, behavior)
	if err != nil {
		return deploy.Preview{}, err
	}
	here := owner.Key().For(actor.target.Ref)
	owns, err := r.Deployer.Owns(ctx, inventory.Host(), here)
	if err != nil || !owns {
		return out, err
	}
	host, err := r.host(ctx, actor.as, here)
	if err != nil {
		return deploy.Preview{}, err
	}
	owner.Cluster = here.Cluster
	local, err := r.Deployer.PreviewWithdrawal(ctx, host, owner, behavior)
	if err != nil {
		return deploy.Preview{}, explainHostRights(err)
	}
	out.Add(local)
	return out, nil
}

// tryWithdrawal is tryOut for a profile that does not match the cluster any more. One that
// is deleted while it is in mode DryRun leaves what was deployed before as it is, as
// upstream does: nothing is written in that mode.
func (r *Reconciler) tryWithdrawal(ctx context.Context, actor actor, owner inventory.Owner, behavior deploy.Behavior, o *outcome) error {
	exists, deleting, err := profile.Exists(ctx, r.Live, profileKey(owner.Key()))
	if err != nil {
		return err
	}
	if exists && !deleting {
		preview, err := r.previewWithdrawal(ctx, actor, owner, behavior)
		if err != nil {
			return err
		}
		return r.keepReport(ctx, actor.target, owner, preview, o)
	}
	err = errors.Join(r.forget(ctx, actor.target.Ref, owner.Key()), r.Reports.Delete(ctx, actor.target.Ref, owner.Key()))
	o.withdrawn = err == nil
	return err
}

func (r *Reconciler) keepReport(ctx context.Context, target deploy.Cluster, owner inventory.Owner, preview deploy.Preview, o *outcome) error {
	now := r.Now()
	record, err := r.Deployer.Record(ctx, target.Ref, owner.Key())
	if err != nil {
		return err
	}
	// What is deployed is shown as it is.
	o.result.Record = record
	o.dryRun, o.refresh = &preview, now.Add(dryRunRefresh)
	return r.Reports.Put(ctx, report.Report{Cluster: target.Ref, Owner: owner, Time: metav1.NewTime(now), Preview: preview})
}

// forgetReport drops the report of a summary that was in mode DryRun: before the first job
// of a term that is not known, and afterwards most have none and nobody is asked.
func (r *Reconciler) forgetReport(ctx context.Context, summary *configv1beta1.ClusterSummary, owner inventory.OwnerKey) error {
	last, _ := r.memory.last(client.ObjectKeyFromObject(summary), summary.UID)
	if r.Reports == nil || last != nil && last.dryRun == nil {
		return nil
	}
	return r.Reports.Delete(ctx, clusterref.OfSummary(summary), owner)
}

// inDryRun reports whether the last job has only asked what would change.
func inDryRun(summary *configv1beta1.ClusterSummary, last *outcome) bool {
	return last != nil && last.dryRun != nil && summary.DeletionTimestamp.IsZero()
}

// dryRunMessage counts what would change.
func dryRunMessage(preview *deploy.Preview) string {
	counts := map[deploy.Action]int{}
	for _, o := range preview.Objects {
		counts[o.Action]++
	}
	for _, o := range preview.Releases {
		counts[o.Action]++
	}
	message := fmt.Sprintf("mode is DryRun: nothing is deployed; %d would be created, %d updated, %d deleted",
		counts[deploy.ActionCreate]+counts[deploy.ActionInstall],
		counts[deploy.ActionUpdate]+counts[deploy.ActionUpgrade]+counts[deploy.ActionUpdateValues],
		counts[deploy.ActionDelete])
	if n := counts[deploy.ActionConflict]; n > 0 {
		message += fmt.Sprintf(", %d are in conflict", n)
	}
	if n := counts[deploy.ActionError]; n > 0 {
		message += fmt.Sprintf(", %d would fail", n)
	}
	if preview.Failure != "" {
		message += "; " + preview.Failure
	}
	return message
}
