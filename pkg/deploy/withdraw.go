// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
)

// Withdraw takes back what the inventory says that the owner has on the
// cluster, last applied first, and forgets it step by step. It ends without an
// error when nothing is left. A *PendingError means that deletions are under
// way: call again soon. After any other error the inventory has what is left.
func (d *Deployer) Withdraw(ctx context.Context, cluster Cluster, owner inventory.OwnerKey, behavior Behavior) (WithdrawResult, error) {
	ledger, leave, err := d.ledgers.enter(ctx, d.options.Inventory, cluster, owner)
	if err != nil {
		return WithdrawResult{}, err
	}
	defer leave()

	own, voided, err := ledger.retire(ctx)
	if err != nil || own == nil {
		return WithdrawResult{Voided: voided}, err
	}
	sweep := clearance{
		deployer: d, ledger: ledger, behavior: behavior, wait: d.options.GoneTimeout,
		remover: remover{cluster: cluster, owner: owner, kinds: newKinds(cluster, own, nil)},
	}
	err = sweep.run(ctx, removalOrder(own.Objects, own.Releases, own.FeatureOrder))
	result := WithdrawResult{Requeue: uniqueOwners(sweep.requeue)}
	if err != nil {
		return result, fmt.Errorf("withdrawing %s: %w", owner, err)
	}
	dropped, err := ledger.drop(ctx)
	if err == nil && !dropped {
		err = fmt.Errorf("withdrawing %s: %w", owner, &PendingError{Cluster: cluster.Ref, Objects: []string{"what came to its inventory meanwhile"}})
	}
	return result, err
}

// retire returns the record of an owner that is about to go. From then on it
// wants nothing any more, so that nothing is let go to it.
func (g *ledger) retire(ctx context.Context) (own *inventory.Record, voided bool, err error) {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	own, _, voided, err = g.load(ctx)
	if err != nil || own == nil {
		return nil, voided, err
	}
	if len(own.WantedObjects)+len(own.WantedReleases) > 0 {
		own.WantedObjects, own.WantedReleases = nil, nil
		err = g.store.Put(ctx, own)
	}
	return own, voided, err
}

// clearance removes things in order and forgets each when it is gone.
type clearance struct {
	deployer *Deployer
	ledger   *ledger
	remover  remover
	behavior Behavior
	wait     time.Duration // for all that is deleted to be gone

	requeue []inventory.OwnerKey
	gone    []removal // what was deleted, uninstalled or stripped
}

// doubt takes from what is about to be removed the hash that says that it is as
// it was applied: somebody who wants it again before it is gone would keep it.
func (c *clearance) doubt(ctx context.Context, order []removal) error {
	_, err := c.ledger.update(ctx, func(r *inventory.Record) {
		for _, about := range order {
			if about.object != nil {
				if entry := r.Object(about.object.ObjectKey); entry != nil {
					entry.ContentHash = ""
				}
			} else if entry := r.Release(about.release.ReleaseKey); entry != nil {
				entry.ContentHash = ""
			}
		}
	})
	return err
}

// run removes what it can. It goes on after a thing that it can't remove, so
// that one stuck finalizer does not keep the rest, but not after losing the
// cluster. What is not gone within the time to wait is pending.
func (c *clearance) run(ctx context.Context, order []removal) error {
	if len(order) == 0 {
		return nil
	}
	if err := c.doubt(ctx, order); err != nil {
		return err
	}
	waitCtx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	var pending []string
	var errs []error
	for _, r := range order {
		held, err := c.remove(ctx, waitCtx, r)
		switch {
		case err != nil:
			errs = append(errs, err)
		case held != "":
			pending = append(pending, held)
		}
		if err != nil && (IsUnreachable(err) || ctx.Err() != nil) {
			break
		}
	}
	errs = append(errs, c.forget(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(pending) > 0 {
		return &PendingError{Cluster: c.remover.cluster.Ref, Objects: pending}
	}
	return nil
}

// IsUnreachable reports whether a request got no answer: the next one would
// not get any either.
func IsUnreachable(err error) bool {
	var transport *url.Error
	return errors.As(err, &transport)
}

// remove removes one thing, or gives it to another owner that wants it. It
// returns what is still there, or "".
func (c *clearance) remove(ctx, waitCtx context.Context, r removal) (held string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if r.release != nil {
		return "", c.removeRelease(ctx, *r.release)
	}
	entry := *r.object
	if given, err := c.giveObject(ctx, entry); given || err != nil {
		return "", err
	}
	if c.behavior == LeavePolicies {
		if err := c.remover.strip(ctx, entry); err != nil {
			return "", fmt.Errorf("releasing %s on %s: %w", entry.ObjectKey, c.remover.cluster.Ref, err)
		}
		c.gone = append(c.gone, r)
		return "", nil
	}
	client, left, err := c.remover.delete(ctx, entry)
	if err != nil {
		return "", fmt.Errorf("deleting %s from %s: %w", entry.ObjectKey, c.remover.cluster.Ref, err)
	}
	if left == nil || awaitGone(waitCtx, client, entry.Name, left.GetUID()) {
		c.gone = append(c.gone, r)
		return "", nil
	}
	return entry.ObjectKey.String() + live.HeldBy(left), nil
}

func (c *clearance) removeRelease(ctx context.Context, entry inventory.Release) error {
	if given, err := c.giveRelease(ctx, entry); given || err != nil {
		return err
	}
	if c.behavior == WithdrawPolicies {
		err := c.deployer.options.Charts.Uninstall(ctx, c.remover.cluster.forRelease(), entry.Namespace, entry.Name, remembered(entry))
		if err != nil {
			return fmt.Errorf("uninstalling %s from %s: %w", entry.ReleaseKey, c.remover.cluster.Ref, err)
		}
		klog.FromContext(ctx).V(2).Info("Uninstalled chart", "cluster", c.remover.cluster.Ref, "profile", c.remover.owner, "release", entry.ReleaseKey)
	}
	// At once: uninstalling again what is gone costs several requests.
	c.gone = append(c.gone, removal{release: &entry})
	return c.ledger.conclude(ctx, func(r *inventory.Record) { dropRelease(r, entry.ReleaseKey) })
}

// give gives to other owners what they want, and leaves the rest alone.
func (c *clearance) give(ctx context.Context, order []removal) error {
	var errs []error
	for _, r := range order {
		var err error
		if r.object != nil {
			_, err = c.giveObject(ctx, *r.object)
		} else {
			_, err = c.giveRelease(ctx, *r.release)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// giveObject gives an object to another owner that wants it.
func (c *clearance) giveObject(ctx context.Context, entry inventory.Object) (bool, error) {
	wants := func(other *inventory.Record) bool { return slices.Contains(other.WantedObjects, entry.ObjectKey) }
	to, err := c.ledger.bequeath(ctx, wants, func(from, to *inventory.Record) { bequeathObject(from, to, entry.ObjectKey) })
	return c.given(to), err
}

// giveRelease gives a release to another owner that wants it.
func (c *clearance) giveRelease(ctx context.Context, entry inventory.Release) (bool, error) {
	wants := func(other *inventory.Record) bool { return slices.Contains(other.WantedReleases, entry.ReleaseKey) }
	to, err := c.ledger.bequeath(ctx, wants, func(from, to *inventory.Record) { bequeathRelease(from, to, entry.ReleaseKey) })
	return c.given(to), err
}

func (c *clearance) given(to *inventory.OwnerKey) bool {
	if to != nil {
		c.requeue = append(c.requeue, *to)
	}
	return to != nil
}

// forget takes what is gone out of the record, and finds those who began to
// want it while it was being removed.
func (c *clearance) forget(ctx context.Context) error {
	if len(c.gone) == 0 {
		return nil
	}
	err := c.ledger.conclude(ctx, func(r *inventory.Record) {
		for _, g := range c.gone {
			if g.object != nil {
				dropObject(r, g.object.ObjectKey)
			}
		}
	})
	if err != nil {
		return err
	}
	records, err := c.ledger.store.ForCluster(ctx, c.remover.cluster.Ref)
	if err != nil {
		return err
	}
	for _, r := range records {
		wanted := slices.ContainsFunc(c.gone, func(g removal) bool {
			if g.object != nil {
				return slices.Contains(r.WantedObjects, g.object.ObjectKey)
			}
			return slices.Contains(r.WantedReleases, g.release.ReleaseKey)
		})
		if wanted {
			c.requeue = append(c.requeue, r.Owner.Key())
		}
	}
	return nil
}
