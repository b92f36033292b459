// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package deploy brings what profiles ask for to managed clusters, and takes it
// back.
//
// A pass plans first, records the union of what is there and what is about to
// be, and only then writes to the cluster. It prunes when, and only when,
// everything that should exist was rendered and applied. What another profile
// owns is never deleted; a change of owner hands over what exists.
package deploy

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/fleet"
)

// FieldManager is the manager of the fields that Muster applies.
const FieldManager = "muster"

// Feature is one of a profile's lists.
type Feature string

const (
	// Resources is policyRefs.
	Resources Feature = "Resources"
	// Kustomize is kustomizationRefs.
	Kustomize Feature = "Kustomize"
	// Helm is helmCharts.
	Helm Feature = "Helm"
)

// Cluster is a managed cluster and the clients to reach it, all with one
// identity. Its clients carry the write gate and the breaker.
type Cluster struct {
	Ref fleet.Ref
	// UID is the registration's, ID the cluster's own.
	UID types.UID
	ID  fleet.ClusterID

	Config    *rest.Config
	Dynamic   dynamic.Interface
	Discovery discovery.CachedDiscoveryInterface
	Mapper    meta.ResettableRESTMapper
}

// ClusterOf returns the cluster that a client reaches.
func ClusterOf(client *fleet.Client, uid types.UID, id fleet.ClusterID) Cluster {
	return Cluster{
		Ref: client.Ref, UID: uid, ID: id,
		Config: client.Config, Dynamic: client.Dynamic, Discovery: client.Discovery, Mapper: client.Mapper,
	}
}

func (c Cluster) forRelease() release.Cluster {
	return release.Cluster{Name: c.Ref.String(), Config: c.Config, Discovery: c.Discovery, Mapper: c.Mapper}
}

// Object is one object that should exist, as it was rendered.
type Object struct {
	// Content is not written to.
	Content *unstructured.Unstructured
	Source  inventory.Source
	// SkipNamespaceCreation makes a missing namespace an error.
	SkipNamespaceCreation bool
	// Force deletes the object and creates it anew where the cluster refuses to
	// update it; see recreates for what is never deleted.
	Force bool
	// Subresources are applied after the object, as far as it has them.
	Subresources []string
}

// ObjectList is one of a profile's lists of objects, in the order written.
type ObjectList struct {
	Feature Feature // Resources or Kustomize
	Objects []Object
	// Err says that rendering stopped there: a source is missing or broken.
	// The objects before it are applied, nothing is pruned, and the list
	// fails with this error.
	Err error
}

// Chart is one Helm release that should exist, or should not.
type Chart struct {
	Ref       release.ChartRef
	Namespace string
	Name      string
	// Uninstall is helmChartAction: Uninstall.
	Uninstall bool
	Values    map[string]any
	// PostRender changes the manifests that the chart renders, hooks only if the
	// settings say so; nil changes nothing. PostRenderHash is of what it does.
	PostRender     func(manifests []byte) ([]byte, error)
	PostRenderHash string
	// Sensitive are strings that no error may carry.
	Sensitive []string
	// Settings say how Helm deploys the release.
	Settings release.Settings
	// Credentials names the Secret with which the repository is read, nil without
	// one. It is remembered; reading it is the business of Charts.
	Credentials *inventory.SecretReference
}

// ChartList is a profile's list of charts, in the order written.
type ChartList struct {
	Charts []Chart
	// Err is as in ObjectList.
	Err error
}

// Request is what one profile wants on one cluster.
type Request struct {
	Owner    inventory.Owner
	Summary  string
	Revision string

	// Objects has at most one list for each feature. A feature without a list
	// is one that wants nothing.
	Objects []ObjectList
	Charts  ChartList

	// ContinueOnError goes on after a failure, and ContinueOnConflict after a
	// conflict. Nothing is pruned in either case.
	ContinueOnError    bool
	ContinueOnConflict bool
	// FeatureOrder are the lists that wait for each other: each is begun when those
	// before it have succeeded. The others run beside them.
	FeatureOrder []Feature
	// Halted are the lists that are not run as long as they ask for the same.
	Halted map[Feature]Halt
	// Hold keeps what is not wanted any more: something of the profile that is not in
	// this request has not been deployed.
	Hold bool
	// Namespace is the only one that objects may be in, and the one of those that
	// name none. Empty allows all, and objects without one.
	Namespace string
	// Refuse, if set, says why an object may not be deployed, nil if it may. The key
	// has the namespace that the object names.
	Refuse func(inventory.ObjectKey) error
	// Predecessor is the profile whose content this one takes over as it is let go.
	Predecessor inventory.OwnerKey
	// Rollback says that the owner may have asked for the same before. It is of no
	// matter to objects; for releases see release.Release.
	Rollback bool
	// Reapply applies also what has not changed since it was applied.
	Reapply bool
	// Era does so too where it is not the one that the owner was deployed in: the
	// inventory was restored, and knows nothing of what happened to the cluster
	// after the backup.
	Era int64
	// Retrigger does so too where it is not empty and not what it was in the owner's last
	// complete pass: a person asks for it by changing it.
	Retrigger string

	// Watch says what has drifted since the last pass. The zero value watches nothing.
	Watch Watch
	// Excluded returns JSON pointers to those fields of a rendered object that others
	// may change: they are part of an object that is made, and of no other apply. nil
	// excludes nothing.
	Excluded func(*unstructured.Unstructured) []string
}

// Halt says that a list is not run, whose hash is the one of a FeatureResult, and why.
type Halt struct {
	// Hash is empty for a list that is not run whatever it asks for.
	Hash string
	Err  error
}

// FeatureResult is the outcome of one list.
type FeatureResult struct {
	// Err is nil if everything in the list exists as it should. With
	// ContinueOnError it joins all errors. Look for *ConflictError and
	// *release.ChartError in its chain.
	Err error
	// Applied counts objects applied and releases changed.
	Applied int
	// Hash is of the list as it was asked for, order included.
	Hash string
}

// Result is the outcome of a pass.
type Result struct {
	Features map[Feature]FeatureResult
	// Record is the inventory at the end of the pass.
	Record *inventory.Record
	// Pruned counts what was deleted because the profile does not name it any
	// more.
	Pruned int
	// Held counts what the profile does not name any more and Hold has kept.
	Held int
	// Requeue are the profiles whose own pass on this cluster has become due:
	// something was taken over from them, or let go to them.
	Requeue []inventory.OwnerKey
	// Watched are the objects of the releases that this pass has looked at because
	// of Request.Watch.
	Watched map[inventory.ReleaseKey][]release.ObjectState
	// Err is an error that is of no list: the inventory can't be read or
	// written, or pruning failed. A *PendingError means that something
	// pruned is still being deleted: try again soon.
	Err error
}

// OK reports whether the cluster has what the profile asks for, and nothing
// that it does not.
func (r Result) OK() bool {
	if r.Err != nil {
		return false
	}
	for _, f := range r.Features {
		if f.Err != nil {
			return false
		}
	}
	return true
}

// Behavior is what withdrawal does with what is there.
type Behavior string

const (
	// WithdrawPolicies deletes it.
	WithdrawPolicies Behavior = "WithdrawPolicies"
	// LeavePolicies leaves it, without the marks of its owner.
	LeavePolicies Behavior = "LeavePolicies"
)

// WithdrawResult is the outcome of a withdrawal.
type WithdrawResult struct {
	// Voided says that the inventory was another cluster's, behind the same
	// name: it was forgotten, and nothing was withdrawn.
	Voided bool
	// Requeue is as in Result.
	Requeue []inventory.OwnerKey
}

// Charts loads charts and deploys releases; *release.Manager does.
type Charts interface {
	LoadChart(ctx context.Context, ref release.ChartRef) (*release.Chart, error)
	Deploy(ctx context.Context, cluster release.Cluster, release release.Release) (release.Outcome, error)
	Uninstall(ctx context.Context, cluster release.Cluster, namespace, name string, settings release.UninstallSettings) error
}

// Options configure a Deployer.
type Options struct {
	Inventory *inventory.Store // required
	Charts    Charts           // required
	// Releases looks at releases that are there; required for passes that watch, and
	// for Preview.
	Releases Releases
	// OwnerExists reports whether a profile exists; kind is ClusterProfile or
	// Profile, namespace empty for the former. It decides about an object whose
	// annotations name an owner of which no inventory knows. Required.
	OwnerExists func(ctx context.Context, owner inventory.OwnerKey) (bool, error)
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// GoneTimeout bounds how long one call of Withdraw waits for what it
	// deleted to be gone, 10 s if zero.
	GoneTimeout time.Duration
	// EstablishTimeout bounds the wait for a CRD to be served, 30 s if zero.
	EstablishTimeout time.Duration
}

// Deployer deploys and withdraws. It is safe for concurrent use; calls for the
// same cluster and owner must not overlap.
type Deployer struct {
	options Options
	ledgers ledgers
}

// New returns a Deployer.
func New(options Options) *Deployer {
	if options.Now == nil {
		options.Now = time.Now
	}
	options.GoneTimeout = cmp.Or(options.GoneTimeout, 10*time.Second)
	options.EstablishTimeout = cmp.Or(options.EstablishTimeout, 30*time.Second)
	return &Deployer{options: options}
}

// Deploy makes one pass: it brings the cluster to what the request says. A
// pass that has nothing to change makes no request to the cluster and no write.
// The lists run beside each other, unless FeatureOrder says otherwise; each stops at
// its first failure. A cancelled
// ctx ends the pass between two steps, with the inventory saying what may exist.
func (d *Deployer) Deploy(ctx context.Context, cluster Cluster, request Request) Result {
	ledger, leave, err := d.ledgers.enter(ctx, d.options.Inventory, cluster, request.Owner.Key())
	if err != nil {
		return Result{Err: err}
	}
	defer leave()
	p := &pass{deployer: d, cluster: cluster, request: request, ledger: ledger}
	return p.run(ctx)
}

// Elsewhere reports whether what the owner's inventory names is on another cluster
// than the one that answers under this name now: the registration with this UID,
// and the cluster with this ID. An owner without an inventory has nothing anywhere.
func (d *Deployer) Elsewhere(ctx context.Context, cluster fleet.Ref, uid types.UID, id fleet.ClusterID, owner inventory.OwnerKey) (bool, error) {
	record, err := d.options.Inventory.Get(ctx, cluster, owner)
	return err == nil && record != nil && !record.BoundTo(uid, id), err
}

// Owns reports whether there is an inventory of an owner on a cluster.
func (d *Deployer) Owns(ctx context.Context, cluster fleet.Ref, owner inventory.OwnerKey) (bool, error) {
	record, err := d.Record(ctx, cluster, owner)
	return record != nil, err
}

// Record returns the owner's inventory of a cluster, nil if there is none.
func (d *Deployer) Record(ctx context.Context, cluster fleet.Ref, owner inventory.OwnerKey) (*inventory.Record, error) {
	return d.options.Inventory.Get(ctx, cluster, owner)
}

// Forget drops the owner's inventory of a cluster without reaching for the
// cluster: its registration was deleted, which leaves its content.
func (d *Deployer) Forget(ctx context.Context, cluster fleet.Ref, owner inventory.OwnerKey) error {
	return d.options.Inventory.Delete(ctx, cluster, owner)
}
