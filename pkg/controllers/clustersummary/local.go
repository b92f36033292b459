// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// parts are the results on the host and on the managed cluster.
type parts struct {
	local, remote deploy.Result
}

// localWork is what a profile has, or had, on the host for one cluster.
type localWork struct {
	host    deploy.Cluster
	request deploy.Request
}

// deploy brings the managed cluster, and the host where the profile has something
// there, to what a request says, and returns the part of the host. Nothing is pruned on one
// of them unless everything was deployed on both.
func (r *Reconciler) deploy(ctx context.Context, actor actor, name types.NamespacedName, request deploy.Request, local map[deploy.Feature][]deploy.Object, o *outcome) (*localWork, error) {
	work, err := r.localWork(ctx, actor, request, local)
	if err != nil {
		return nil, err
	}
	if work != nil {
		work.request.Watch = r.watchOnHost(name, request.Watch)
	}
	halts := r.memory.halts(name, *o)
	for _, waiting := range stages(request.FeatureOrder, work != nil) {
		var done parts
		if work != nil {
			work.request.Halted, work.request.Hold = withHalts(halts.local, waiting), true
			done.local = r.deployLocal(ctx, work)
			request.Hold = !done.local.OK()
		}
		request.Halted = withHalts(halts.remote, waiting)
		done.remote = r.Deployer.Deploy(ctx, actor.target, request)
		r.wake(ctx, actor.target.Ref, done.remote.Requeue)
		o.parts = parts{local: after(o.parts.local, done.local), remote: after(o.parts.remote, done.remote)}
		if resultError(done.local) != nil && !onlyWaits(resultError(done.local)) || resultError(done.remote) != nil && !onlyWaits(resultError(done.remote)) {
			break
		}
	}
	if work != nil && o.parts.local.OK() && o.parts.remote.OK() && o.parts.local.Held > 0 {
		work.request.Hold = false
		o.parts.local = after(o.parts.local, r.deployLocal(ctx, work))
	}
	o.result = o.parts.merged()
	return work, nil
}

// localWork is nil for a profile that neither wants nor has anything on the host.
func (r *Reconciler) localWork(ctx context.Context, actor actor, request deploy.Request, local map[deploy.Feature][]deploy.Object) (*localWork, error) {
	cluster := actor.target.Ref
	owner := request.Owner.Key().For(cluster)
	if len(local) == 0 {
		owns, err := r.Deployer.Owns(ctx, inventory.Host(), owner)
		if err != nil || !owns {
			return nil, err
		}
	}
	host, err := r.host(ctx, actor.as, owner)
	if err != nil {
		return nil, err
	}
	request.Watch = deploy.Watch{} // what has drifted on the cluster is none of the host's
	request.Owner.Cluster = owner.Cluster
	request.Namespace = owner.Namespace
	if actor.as.IsZero() {
		request.Refuse = refuseRegistrations
	}
	if request.Predecessor != (inventory.OwnerKey{}) {
		request.Predecessor = request.Predecessor.For(cluster)
	}
	remote := request.Objects
	request.Objects, request.Charts = nil, deploy.ChartList{}
	for _, list := range remote {
		// With its error: what comes behind that may be wanted on the host.
		list.Objects = local[list.Feature]
		if len(list.Objects) > 0 || list.Err != nil {
			request.Objects = append(request.Objects, list)
		}
	}
	return &localWork{host: host, request: request}, nil
}

// registrationGroup is the group of APIServices, by which the host knows Muster.
const registrationGroup = "apiregistration.k8s.io"

// refuseRegistrations keeps profiles from using the one right to change something on
// the host that Muster has for itself: who leads its APIServices elsewhere gets to see
// what everybody sends to it.
func refuseRegistrations(key inventory.ObjectKey) error {
	for _, group := range []string{configv1beta1.GroupName, libv1beta1.GroupName} {
		if key.Group == registrationGroup && strings.HasSuffix(key.Name, "."+group) {
			return fmt.Errorf("%s is Muster's own registration, which no profile deploys", key)
		}
	}
	return nil
}

// host is the host as a cluster, where what a former leader's last writes have left of
// an owner was found.
func (r *Reconciler) host(ctx context.Context, as fleet.Identity, owner inventory.OwnerKey) (deploy.Cluster, error) {
	host, err := r.HostCluster.Cluster(ctx, fleet.Identity{})
	if err == nil && r.Strays {
		r.adoptStrays(ctx, host, owner)
	}
	if err == nil && !as.IsZero() {
		host, err = r.HostCluster.Cluster(ctx, as)
	}
	if err != nil {
		return host, fmt.Errorf("connecting to the host cluster: %w", err)
	}
	return host, nil
}

// deployLocal makes a pass on the host.
func (r *Reconciler) deployLocal(ctx context.Context, work *localWork) deploy.Result {
	result := r.Deployer.Deploy(ctx, work.host, work.request)
	r.wake(ctx, work.host.Ref, result.Requeue)
	for feature, outcome := range result.Features {
		outcome.Err = explainHostRights(outcome.Err)
		result.Features[feature] = outcome
	}
	result.Err = explainHostRights(result.Err)
	return result
}

// explainHostRights says what to do about what the host does not allow. Its own message
// names the verb, the kind and the namespace.
func explainHostRights(err error) error {
	if err == nil || !apierrors.IsForbidden(err) {
		return err
	}
	return fmt.Errorf("%w; on the host, Muster and tenants change only what a role allows them (in the chart: rbac.hostRules)", err)
}

// withdrawLocal takes back what a profile has on the host for a cluster.
func (r *Reconciler) withdrawLocal(ctx context.Context, actor actor, owner inventory.OwnerKey, behavior deploy.Behavior) error {
	owner = owner.For(actor.target.Ref)
	owns, err := r.Deployer.Owns(ctx, inventory.Host(), owner)
	if err != nil || !owns {
		return err
	}
	host, err := r.host(ctx, actor.as, owner)
	if err != nil {
		return err
	}
	result, err := r.Deployer.Withdraw(ctx, host, owner, behavior)
	r.wake(ctx, host.Ref, result.Requeue)
	return explainHostRights(err)
}

// forget drops the inventories of a cluster that is not registered any more: its own,
// and that of what is on the host for it. The content stays as it is.
func (r *Reconciler) forget(ctx context.Context, cluster fleet.Ref, owner inventory.OwnerKey) error {
	return errors.Join(r.Deployer.Forget(ctx, cluster, owner), r.Deployer.Forget(ctx, inventory.Host(), owner.For(cluster)))
}

// wakeLocal is wake for owners of what is on the host.
func (r *Reconciler) wakeLocal(ctx context.Context, owners []inventory.OwnerKey) {
	for _, owner := range owners {
		if namespace, name, found := strings.Cut(owner.Cluster, "/"); found {
			r.wake(ctx, clusterref.Of(namespace, name), []inventory.OwnerKey{owner.Profile()})
		}
	}
}

// stages are the lists that wait in each round of passes, with what they wait for. A
// pass knows the order of the lists on its own cluster; where there are two clusters,
// one round for each list of the order makes the host's wait for the other's.
func stages(order []deploy.Feature, both bool) []map[deploy.Feature]deploy.Halt {
	if !both || len(order) < 2 {
		return []map[deploy.Feature]deploy.Halt{nil}
	}
	var out []map[deploy.Feature]deploy.Halt
	for i := range order {
		waiting := map[deploy.Feature]deploy.Halt{}
		for _, later := range order[i+1:] {
			waiting[later] = deploy.Halt{Err: &deploy.WaitingError{Feature: later, For: order[i]}}
		}
		out = append(out, waiting)
	}
	return out
}

func withHalts(halts, more map[deploy.Feature]deploy.Halt) map[deploy.Feature]deploy.Halt {
	out := maps.Clone(halts)
	if out == nil {
		out = map[deploy.Feature]deploy.Halt{}
	}
	maps.Copy(out, more)
	return out
}

// after is the result of a pass that followed another one, of which it counts what was
// done as well.
func after(before, result deploy.Result) deploy.Result {
	result.Pruned += before.Pruned
	watched := maps.Clone(before.Watched)
	if watched == nil {
		watched = result.Watched
	} else {
		maps.Copy(watched, result.Watched)
	}
	result.Watched = watched
	for feature, outcome := range result.Features {
		outcome.Applied += before.Features[feature].Applied
		result.Features[feature] = outcome
	}
	return result
}

// merged is the one result of both parts. What is on the host is beside what is on the
// cluster in its record, which is for showing alone.
func (p parts) merged() deploy.Result {
	out := p.remote
	out.Features = maps.Clone(p.remote.Features)
	out.Err = errors.Join(p.remote.Err, p.local.Err)
	for feature, local := range p.local.Features {
		both := out.Features[feature]
		both.Err = errors.Join(distinct(append(leaves(local.Err), leaves(both.Err)...))...)
		both.Applied += local.Applied
		both.Hash += local.Hash
		if out.Features == nil {
			out.Features = map[deploy.Feature]deploy.FeatureResult{}
		}
		out.Features[feature] = both
	}
	if p.local.Record != nil {
		shown := &inventory.Record{}
		if p.remote.Record != nil {
			shown = p.remote.Record.Clone()
		}
		shown.Objects = append(shown.Objects, p.local.Record.Objects...)
		out.Record = shown
	}
	return out
}

func distinct(errs []error) []error {
	var out []error
	for _, err := range errs {
		if !slices.ContainsFunc(out, func(other error) bool { return other.Error() == err.Error() }) {
			out = append(out, err)
		}
	}
	return out
}
