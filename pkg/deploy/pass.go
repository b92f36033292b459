// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// pass is one call of Deploy.
type pass struct {
	deployer *Deployer
	cluster  Cluster
	request  Request
	ledger   *ledger

	kinds  *kinds
	plan   plan
	before *inventory.Record // as stored when the pass began, nil if there was none

	// incomplete says that a list could not be rendered or resolved to its end:
	// what it does not name may be wanted all the same.
	incomplete bool

	mu      sync.Mutex // guards what follows
	results map[Feature]FeatureResult
	requeue []inventory.OwnerKey
	watched map[inventory.ReleaseKey][]release.ObjectState
}

// run makes the pass. The ledger was entered.
func (p *pass) run(ctx context.Context) Result {
	result := Result{}
	if result.Err = p.claim(ctx); result.Err == nil {
		p.deploy(ctx)
		result.Pruned, result.Err = p.finish(ctx)
		if p.request.Hold {
			result.Held = len(p.plan.staleObjects) + len(p.plan.staleReleases)
		}
	}
	result.Features, result.Requeue, result.Watched = p.results, uniqueOwners(p.requeue), p.watched
	record, err := p.ledger.store.Get(ctx, p.cluster.Ref, p.request.Owner.Key())
	if err == nil && record == nil && p.keeps() {
		err = fmt.Errorf("%s on %s: %w", p.request.Owner, p.cluster.Ref, errRecordGone)
	}
	result.Record, result.Err = record, errors.Join(result.Err, err)
	count(p.plan, result)
	return result
}

// keeps reports whether there is something that the pass has left as it was because its
// record says what that is.
func (p *pass) keeps() bool {
	return slices.ContainsFunc(p.plan.objects, func(s objectStep) bool { return s.verdict == verdictKeep })
}

// claim plans the pass and makes the plan durable: what the owner is about to
// have is in its record, and out of others', before anything is applied.
func (p *pass) claim(ctx context.Context) error {
	before, err := p.ledger.store.Get(ctx, p.cluster.Ref, p.request.Owner.Key())
	if err != nil {
		return err
	}
	if before != nil && !before.BoundTo(p.cluster.UID, p.cluster.ID) {
		before = nil
	}
	p.kinds = newKinds(p.cluster, before, p.request.Objects)
	// Resolving may ask the cluster what its kinds are: not under the lock.
	objects, releases := p.resolve()

	p.ledger.shared.mu.Lock()
	defer p.ledger.shared.mu.Unlock()
	own, others, voided, err := p.ledger.load(ctx)
	if err != nil {
		return err
	}
	if voided {
		klog.FromContext(ctx).Info("Another cluster answers behind the same name, its inventory was voided", "cluster", p.cluster.Ref, "profile", p.request.Owner)
	}
	p.before = own
	if own == nil {
		own = &inventory.Record{}
	}
	own = own.Clone()
	own.Cluster, own.ClusterUID, own.ClusterID = p.cluster.Ref, p.cluster.UID, p.cluster.ID
	own.Owner, own.Summary = p.request.Owner, p.request.Summary
	own.FeatureOrder = names(p.request.FeatureOrder)
	p.plan = makePlan(planInput{
		own: own, others: others, busy: p.deployer.ledgers.busy(p.ledger),
		objects: objects, releases: releases,
		stopAtConflict: !p.request.ContinueOnConflict && !p.request.ContinueOnError,
		reapply:        p.request.Reapply || p.before != nil && p.before.Era != p.request.Era || p.retriggered(),
		revisionDone:   p.before != nil && own.Revision == p.request.Revision,
		predecessor:    p.request.Predecessor,
		drifted:        p.request.Watch.drifted(own),
	})
	return p.record(ctx)
}

// retriggered reports whether a person asks for everything to be applied once more.
func (p *pass) retriggered() bool {
	return p.before != nil && p.request.Retrigger != "" && p.before.Retriggered != p.request.Retrigger
}

// record stores the plan.
func (p *pass) record(ctx context.Context) error {
	if !p.recorded() {
		return nil
	}
	if p.before != nil {
		if same, err := equal(p.before, p.plan.record); err != nil || same {
			return err
		}
	}
	if err := p.ledger.store.Put(ctx, p.plan.record); err != nil {
		return err
	}
	for _, loser := range p.plan.losers {
		if err := p.ledger.store.Put(ctx, loser); err != nil {
			return err
		}
		p.requeue = append(p.requeue, loser.Owner.Key())
	}
	return nil
}

// resolve turns the request into what planning needs. What can't be resolved
// ends its list, as an error of rendering does.
func (p *pass) resolve() ([]wantedObject, []wantedRelease) {
	defer func() { p.incomplete = p.failed() }()
	p.results = map[Feature]FeatureResult{}
	var objects []wantedObject
	for _, list := range p.request.Objects {
		wanted, err := p.resolveList(list)
		p.results[list.Feature] = FeatureResult{Err: errors.Join(list.Err, err)}
		objects = append(objects, wanted...)
	}
	var releases []wantedRelease
	err := p.request.Charts.Err
	for _, chart := range p.request.Charts.Charts {
		hash, hashErr := chartHash(chart)
		if hashErr != nil {
			err = errors.Join(fmt.Errorf("values of %s: %w", chartKey(chart), hashErr), err)
			break
		}
		releases = append(releases, wantedRelease{key: chartKey(chart), hash: hash, chart: chart})
	}
	if err != nil || len(releases) > 0 {
		p.results[Helm] = FeatureResult{Err: err}
	}
	return objects, releases
}

func chartKey(chart Chart) inventory.ReleaseKey {
	return inventory.ReleaseKey{Namespace: chart.Namespace, Name: chart.Name}
}

func (p *pass) resolveList(list ObjectList) ([]wantedObject, error) {
	var wanted []wantedObject
	var errs []error
	for _, o := range list.Objects {
		w, err := p.resolveObject(list.Feature, o)
		if err == nil {
			wanted = append(wanted, w)
			continue
		}
		errs = append(errs, fmt.Errorf("in %s, for %s: %w", o.Source, p.cluster.Ref, err))
		if !p.request.ContinueOnError {
			break
		}
	}
	return wanted, errors.Join(errs...)
}

func (p *pass) resolveObject(feature Feature, o Object) (wantedObject, error) {
	obj, err := sanitize(o.Content)
	if err != nil {
		return wantedObject{}, err
	}
	if p.request.Refuse != nil {
		if err := p.request.Refuse(keyOf(obj)); err != nil {
			return wantedObject{}, err
		}
	}
	gvk := obj.GroupVersionKind()
	namespaced, err := p.kinds.isNamespaced(gvk)
	if err != nil {
		return wantedObject{}, fmt.Errorf("%s %s: %w", gvk.Kind, obj.GetName(), err)
	}
	switch {
	case !namespaced:
		obj.SetNamespace("") // as an API server would
	case obj.GetNamespace() == "":
		obj.SetNamespace(cmp.Or(p.request.Namespace, "default"))
	}
	if own := p.request.Namespace; own != "" && obj.GetNamespace() != own {
		return wantedObject{}, &OutsideError{Object: keyOf(obj), Namespace: own}
	}
	excluded := p.request.excluded(obj)
	hash, err := contentHash(obj, p.request.Owner, feature, o.Source, o.Subresources, excluded)
	if err != nil {
		return wantedObject{}, fmt.Errorf("%s %s: %w", gvk.Kind, obj.GetName(), err)
	}
	return wantedObject{
		key: keyOf(obj), version: gvk.Version, feature: feature, source: o.Source, hash: hash, content: obj,
		skipNamespace: o.SkipNamespaceCreation, force: o.Force, subresources: o.Subresources, excluded: excluded,
	}, nil
}

// keyOf is the identity of an object.
func keyOf(obj *unstructured.Unstructured) inventory.ObjectKey {
	gvk := obj.GroupVersionKind()
	return inventory.ObjectKey{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// report adds to the result of a list what its run brought.
func (p *pass) report(feature Feature, run FeatureResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What rendering left out comes after what could be applied.
	run.Err = errors.Join(run.Err, p.results[feature].Err)
	p.results[feature] = run
}

// goOn reports whether a list goes on after an error.
func (p *pass) goOn(err error) bool {
	var conflict *ConflictError
	return p.request.ContinueOnError || p.request.ContinueOnConflict && errors.As(err, &conflict)
}

// failed reports whether any list has failed.
func (p *pass) failed() bool {
	for _, r := range p.results {
		if r.Err != nil {
			return true
		}
	}
	return false
}

// finish prunes if it may, and makes the record what is.
func (p *pass) finish(ctx context.Context) (pruned int, err error) {
	switch {
	case !p.failed():
		pruned, err = p.prune(ctx, p.request.Hold)
		if p.recorded() && !p.wasComplete() {
			_, completeErr := p.ledger.update(ctx, func(r *inventory.Record) {
				r.Revision, r.Era, r.Retriggered = p.request.Revision, p.request.Era, p.request.Retrigger
			})
			err = errors.Join(err, completeErr)
		}
	case !p.incomplete:
		// Nothing may be deleted, but what others want need not wait: two
		// profiles that each have what the other wants would wait for ever.
		_, err = p.prune(ctx, true)
	}
	if p.uninstalls() {
		return pruned, err
	}
	_, dropErr := p.ledger.drop(ctx)
	return pruned, errors.Join(err, dropErr)
}

// wasComplete reports whether the record says already what it says after a complete pass.
// Nobody else changes that of it.
func (p *pass) wasComplete() bool {
	return p.before != nil && p.before.Revision == p.request.Revision && p.before.Era == p.request.Era && p.before.Retriggered == p.request.Retrigger
}

// recorded reports whether the pass has a record. One that has nothing to
// remember has none.
func (p *pass) recorded() bool {
	return p.before != nil || !isBlank(p.plan.record) || p.uninstalls()
}

// uninstalls reports whether the request has releases to uninstall. Its record
// is kept even if it names nothing: the revision in it says that it was done.
func (p *pass) uninstalls() bool {
	return slices.ContainsFunc(p.plan.releases, func(s releaseStep) bool { return s.chart.Uninstall })
}

// pruneWait bounds how long a pass waits for what it pruned to be gone: it has
// deployed what it was called for.
const pruneWait = 2 * time.Second

// prune removes what the owner has and does not want any more, or only gives it
// to others that want it.
func (p *pass) prune(ctx context.Context, giveOnly bool) (int, error) {
	order := removalOrder(p.plan.staleObjects, p.plan.staleReleases, p.plan.record.FeatureOrder)
	if len(order) == 0 {
		return 0, nil
	}
	sweep := clearance{
		deployer: p.deployer, ledger: p.ledger, behavior: WithdrawPolicies,
		wait:    min(pruneWait, p.deployer.options.GoneTimeout),
		remover: remover{cluster: p.cluster, owner: p.request.Owner.Key(), kinds: p.kinds},
	}
	var err error
	if giveOnly {
		err = sweep.give(ctx, order)
	} else {
		err = sweep.run(ctx, order)
	}
	p.requeue = append(p.requeue, sweep.requeue...)
	if err != nil {
		err = fmt.Errorf("pruning: %w", err)
	}
	return len(sweep.gone), err
}

func uniqueOwners(owners []inventory.OwnerKey) []inventory.OwnerKey {
	var out []inventory.OwnerKey
	seen := map[inventory.OwnerKey]bool{}
	for _, o := range owners {
		if !seen[o] {
			seen[o] = true
			out = append(out, o)
		}
	}
	return out
}
