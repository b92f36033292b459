// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// outcome is what became of one planned step.
type outcome struct {
	// attempted says that the cluster may have been written to.
	attempted bool
	applied   *applied // nil unless it succeeded
}

// deployObjects applies one list of objects, in order. halt is why none of it may be,
// nil if it may.
func (p *pass) deployObjects(ctx context.Context, feature Feature, steps []objectStep, halt error) {
	apply := &applier{deployer: p.deployer, cluster: p.cluster, owner: p.request.Owner, kinds: p.kinds, established: map[string]bool{}}
	outcomes := make([]outcome, len(steps))
	run := FeatureResult{Err: halt, Hash: objectsHash(steps)}
	stopped := halt != nil
	for _, i := range applyOrder(steps) {
		if stopped {
			break
		}
		if err := p.deployObject(ctx, apply, steps[i], &outcomes[i]); err != nil {
			run.Err = errors.Join(run.Err, err)
			stopped = !p.goOn(err)
		} else if outcomes[i].applied != nil {
			run.Applied++
		}
	}
	if run.Applied > 0 {
		klog.FromContext(ctx).V(2).Info("Applied objects", "cluster", p.cluster.Ref, "profile", p.request.Owner, "feature", feature, "count", run.Applied)
	}
	if slices.ContainsFunc(steps, objectStep.applies) {
		run.Err = errors.Join(run.Err, p.ledger.conclude(ctx, func(r *inventory.Record) { concludeObjects(r, steps, outcomes) }))
	}
	p.report(feature, run)
}

func (p *pass) deployObject(ctx context.Context, apply *applier, s objectStep, o *outcome) error {
	if s.conflict != nil {
		return s.conflict
	}
	if !s.applies() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("applying %s to %s: %w", s.key, p.cluster.Ref, err)
	}
	result, err := apply.apply(ctx, s)
	if err != nil {
		o.attempted = !isRefused(err)
		return err
	}
	o.applied = &result
	return nil
}

// isRefused reports whether an apply certainly wrote nothing: it was not sent,
// or the server refused it.
func isRefused(err error) bool {
	var partial *partialError
	if errors.As(err, &partial) {
		return false
	}
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout
}

// concludeObjects makes the record say what became of the steps. What was
// never attempted is as it was before.
func concludeObjects(r *inventory.Record, steps []objectStep, outcomes []outcome) {
	entries, never := r.ByKey(), map[inventory.ObjectKey]bool{}
	for i, s := range steps {
		entry := entries[s.key]
		if entry == nil || !s.applies() {
			continue
		}
		switch o := outcomes[i]; {
		case o.applied != nil:
			entry.UID, entry.ContentHash, entry.LastAppliedTime = o.applied.uid, s.hash, o.applied.time
			entry.TakenFrom, entry.FormerOwners = nil, nil
			entry.Fields, entry.ResourceVersion, entry.IgnoreDrift = o.applied.fields, o.applied.resourceVersion, ignoresDrift(s.content)
		case o.attempted || s.takenFrom != nil:
			// In doubt. What was taken over is ours all the same.
			entry.TakenFrom = nil
		case s.before != nil:
			*entry = *s.before
		default:
			never[s.key] = true
		}
	}
	r.Objects = slices.DeleteFunc(r.Objects, func(o inventory.Object) bool { return never[o.ObjectKey] })
}

// applies reports whether a step is to change the cluster. The others change no record
// when the pass ends either.
func (s objectStep) applies() bool { return s.verdict == verdictApply }

// deployReleases deploys the list of charts, in order. halt is as for objects.
func (p *pass) deployReleases(ctx context.Context, halt error) {
	run := FeatureResult{Err: halt, Hash: releasesHash(p.plan.releases)}
	stopped := halt != nil
	for i, s := range p.plan.releases {
		if stopped {
			run.Err = errors.Join(run.Err, p.unplan(ctx, p.plan.releases[i]))
			continue
		}
		changed, err := p.deployRelease(ctx, s)
		if err != nil {
			run.Err = errors.Join(run.Err, &ReleaseError{Release: s.key, Err: err})
			stopped = !p.goOn(err)
		}
		if changed {
			run.Applied++
		}
	}
	p.report(Helm, run)
}

func (p *pass) deployRelease(ctx context.Context, s releaseStep) (changed bool, err error) {
	if s.conflict != nil {
		return false, s.conflict
	}
	if s.verdict != verdictApply {
		err := p.watchRelease(ctx, s)
		if !errors.Is(err, release.ErrNotDeployed) {
			return false, err
		}
		s.verdict = verdictApply // somebody has uninstalled it
	}
	if err := ctx.Err(); err != nil {
		return false, errors.Join(fmt.Errorf("deploying %s to %s: %w", s.key, p.cluster.Ref, err), p.unplan(ctx, s))
	}
	if s.chart.Uninstall {
		return p.uninstall(ctx, s)
	}
	chart, err := p.deployer.options.Charts.LoadChart(ctx, s.chart.Ref)
	if err != nil {
		// The cluster was not touched.
		return false, errors.Join(fmt.Errorf("%s for %s: %w", s.key, p.cluster.Ref, err), p.unplan(ctx, s))
	}
	out, err := p.deployer.options.Charts.Deploy(ctx, p.cluster.forRelease(), p.releaseOf(s, chart))
	if err != nil {
		return false, fmt.Errorf("deploying %s to %s: %w", s.key, p.cluster.Ref, err)
	}
	klog.FromContext(ctx).V(2).Info("Deployed chart", "cluster", p.cluster.Ref, "profile", p.request.Owner, "release", s.key, "action", out.Action, "version", out.Version)
	now := metav1.NewTime(p.deployer.options.Now())
	err = p.ledger.conclude(ctx, func(r *inventory.Record) {
		if entry := r.Release(s.key); entry != nil {
			*entry = inventory.Release{
				ReleaseKey: s.key, Chart: out.Chart, Version: out.Version, AppVersion: out.AppVersion, Icon: out.Icon,
				RepoURL: release.RedactURL(s.chart.Ref.RepositoryURL), ValuesHash: out.ValuesHash,
				ContentHash: s.hash, LastAppliedTime: now, PatchesHash: s.chart.PostRenderHash,
			}
			remember(entry, s.chart)
		}
	})
	return out.Action != release.Unchanged, errors.Join(err, p.watchRelease(ctx, s))
}

// releaseOf is what a step deploys, with its chart loaded.
func (p *pass) releaseOf(s releaseStep, chart *release.Chart) release.Release {
	return release.Release{
		Namespace: s.chart.Namespace, Name: s.chart.Name, Chart: chart, Values: s.chart.Values, Sensitive: s.chart.Sensitive,
		PostRender: s.chart.PostRender, PostRenderHash: s.chart.PostRenderHash, Settings: s.chart.Settings, OwnerOf: p.cluster.ownerOf, Rollback: p.request.Rollback,
	}
}

// uninstall does what helmChartAction Uninstall asks for.
func (p *pass) uninstall(ctx context.Context, s releaseStep) (bool, error) {
	if err := p.deployer.options.Charts.Uninstall(ctx, p.cluster.forRelease(), s.key.Namespace, s.key.Name, s.chart.Settings.Uninstall); err != nil {
		return false, fmt.Errorf("uninstalling %s from %s: %w", s.key, p.cluster.Ref, err)
	}
	if s.before == nil {
		return false, nil
	}
	return true, p.ledger.conclude(ctx, func(r *inventory.Record) { dropRelease(r, s.key) })
}

// unplan makes the record say of a release that was not touched what it said
// before the pass. A record that claims too much would hold up whoever else
// wants the release.
func (p *pass) unplan(ctx context.Context, s releaseStep) error {
	if s.verdict != verdictApply || s.chart.Uninstall && s.before == nil {
		return nil
	}
	return p.ledger.conclude(ctx, func(r *inventory.Record) {
		entry := r.Release(s.key)
		switch {
		case entry == nil:
		case s.takenFrom != nil:
			entry.TakenFrom = nil
		case s.before != nil:
			*entry = *s.before
			remember(entry, s.chart)
		default:
			dropRelease(r, s.key)
		}
	})
}
