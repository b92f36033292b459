// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-project/muster/pkg/controllers/brief"
	"github.com/muster-project/muster/pkg/controllers/clusterset"
	"github.com/muster-project/muster/pkg/controllers/clustersummary"
	"github.com/muster-project/muster/pkg/controllers/hostcluster"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/controllers/sveltoscluster"
	"github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/drift"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/deploy/release/rendering"
	"github.com/muster-project/muster/pkg/deploy/reload"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/fence"
	"github.com/muster-project/muster/pkg/fleet/watches"
	"github.com/muster-project/muster/pkg/render/kustomize"
	"github.com/muster-project/muster/pkg/render/remote"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/records"
)

// parts are the pieces of one term.
type parts struct {
	*Dependencies
	epoch      int64
	setChanges *trigger.Source[selection.SetKey]
	// revisions remembers what it has written or read: a store of this term's own,
	// because in another replica's term any of it may have been deleted.
	revisions *revision.Store
	history   *history.Store
	workers   *fleet.Workers
	reloader  *reload.Reloader
	prober    *fleet.Prober

	clusters  *sveltoscluster.Reconciler
	sets      *clusterset.Reconciler
	profiles  *profile.Reconciler
	summaries *clustersummary.Reconciler
	// objects are those of the host that templates see.
	objects *hostobjects.Store
	watches *watches.Watches
	drift   *drift.Tracker
}

func (d *Dependencies) newParts(ctx context.Context, t term.Term, mgr manager.Manager, host cluster.Cluster) (*parts, error) {
	p := &parts{
		Dependencies: d,
		epoch:        t.Epoch,
		setChanges:   trigger.New[selection.SetKey](),
		revisions:    revision.NewStore(d.Records),
		history:      history.NewStore(d.Records, d.HistoryLimit),
		workers:      fleet.NewWorkers(fleet.WorkersOptions{}),
	}
	connections, err := p.newConnections(ctx, t, mgr, host)
	if err != nil {
		return nil, err
	}
	// Before the first set is looked at, so that no change falls in between.
	context.AfterFunc(ctx, d.Index.OnChange(p.setChanges.Trigger))
	brake, err := sveltoscluster.NewBrake(ctx, mgr.GetAPIReader(), clock.RealClock{}, func() { p.brakeChanged(ctx, mgr) })
	if err != nil {
		return nil, err
	}
	recorder := brief.Events(host.GetEventRecorder("muster"))
	p.clusters = &sveltoscluster.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: recorder, Forget: connections.Forget,
		Trigger: trigger.New[reconcile.Request](), Brake: brake, ForgetInventories: p.forgetInventories,
		Fences: connections, Workers: p.workers, Scripts: d.Scripts,
	}
	p.prober = fleet.NewProber(connections, p.clusters.Report, d.Prober)
	p.clusters.Prober = p.prober
	p.sets = &clusterset.Reconciler{
		Live: mgr.GetAPIReader(), Status: mgr.GetClient().Status(), Index: d.Index,
		WaitCurrent: d.WaitCurrent, Halted: brake.Halted, Evidence: p.prober, Events: recorder,
	}
	p.profiles = &profile.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Members: d.Index, WaitCurrent: d.WaitCurrent,
		Revisions: p.revisions, History: p.history, Events: recorder, Now: time.Now,
	}
	if p.objects, err = p.newHostObjects(mgr, host); err != nil {
		return nil, err
	}
	hostCluster, err := hostcluster.New(p.gated(p.Host, t), mgr.GetScheme(), p.Reach)
	if err != nil {
		return nil, err
	}
	p.watches = watches.New(watched{managed: connections, host: hostCluster})
	p.reloader = p.newReloader(mgr, hostCluster, connections)
	p.summaries = p.newSummaries(mgr, host, hostCluster, connections, recorder)
	p.watchDrift()
	return p, nil
}

// newConnections returns the factory of the clients of managed clusters.
func (p *parts) newConnections(ctx context.Context, t term.Term, mgr manager.Manager, host cluster.Cluster) (*fleet.Clusters, error) {
	installation, err := p.Installation(ctx)
	if err != nil {
		return nil, err
	}
	credentials := &sveltoscluster.Credentials{Clusters: mgr.GetClient(), Host: p.Reach.Reader(host.GetAPIReader()), Secrets: p.Reach.Reader(host.GetCache())}
	return fleet.NewClusters(fleet.Options{
		Credentials: credentials,
		Tenants:     &sveltoscluster.Tenants{Host: p.Reach.Reader(host.GetAPIReader())},
		Wrap:        p.Gate.Wrap,
		Dial:        p.dial(t),
		UserAgent:   func() string { return p.userAgent(t) },
		Fencing: &fleet.Fencing{
			Wanted: credentials.Fenced,
			Mark:   fence.Mark{Installation: installation, Epoch: t.Epoch},
			Report: func(ref fleet.Ref, err error) { p.clusters.ReportFence(ref, err) },
		},
	}), nil
}

func (p *parts) newSummaries(mgr manager.Manager, host cluster.Cluster, hostCluster *hostcluster.Host, connections *fleet.Clusters, recorder events.EventRecorder) *clustersummary.Reconciler {
	charts := release.NewManager(release.Options{Mirror: p.Mirror, Addresses: p.Addresses, Rendering: rendering.New(p.Builds)})
	return clustersummary.New(clustersummary.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Host: p.Reach.Reader(host.GetAPIReader()), HostObjects: p.objects, Clusters: connections, Workers: p.workers,
		HostCluster: hostCluster,
		Deployer: deploy.New(deploy.Options{
			Inventory:   p.Inventories,
			Charts:      charts,
			Releases:    charts,
			OwnerExists: p.ownerExists(mgr),
		}),
		Revisions: p.revisions, History: p.history, Renderer: p.Renderer,
		Kustomizations: kustomize.NewBuilder(p.Builds),
		Fetcher:        remote.NewFetcher(remote.Options{Mirror: p.Mirror, Addresses: p.Addresses}),
		Strays:         p.Elected,
		Era:            records.Era(p.epoch),
		Events:         recorder, Trigger: trigger.New[reconcile.Request](), Now: time.Now, Scripts: p.Scripts,
		Reloader: p.reloader, Reports: report.NewStore(inventory.OnRecords(p.Records)),
	})
}

func (p *parts) newReloader(mgr manager.Manager, hostCluster *hostcluster.Host, connections *fleet.Clusters) *reload.Reloader {
	clients := clustersummary.ReloadClients(connections, hostCluster, mgr.GetClient(), time.Now)
	return reload.New(clients, p.watches, func(ctx context.Context, ref fleet.Ref, owners []inventory.OwnerKey, err error) {
		p.summaries.ReloadFailed(ctx, ref, owners, err)
	})
}

// watchDrift has what is deployed watched.
func (p *parts) watchDrift() {
	p.drift = drift.New(drift.Options{Watches: p.watches, Due: p.summaries.Drifted, Wake: p.summaries.Wake})
	p.summaries.Drift = p.drift
}

// setup registers everything with the manager, which starts and ends it.
func (p *parts) setup(ctx context.Context, mgr manager.Manager, host cluster.Cluster) error {
	if err := errors.Join(
		p.clusters.SetupWithManager(ctx, mgr, host.GetCache()),
		p.sets.SetupWithManager(mgr, p.setChanges),
		p.profiles.SetupWithManager(ctx, mgr),
		p.summaries.SetupWithManager(ctx, mgr, host.GetCache()),
		mgr.Add(manager.RunnableFunc(p.workers.Run)),
		mgr.Add(manager.RunnableFunc(p.objects.Run)),
		mgr.Add(manager.RunnableFunc(p.prober.Run)),
		mgr.Add(manager.RunnableFunc(p.summaries.RunChecks)),
		mgr.Add(manager.RunnableFunc(p.reloader.Run)),
		mgr.Add(manager.RunnableFunc(p.watches.Run)),
		mgr.Add(manager.RunnableFunc(p.drift.Run)),
		mgr.Add(manager.RunnableFunc(p.sweep)),
		mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return p.sweepHistory(ctx, mgr.GetAPIReader()) })),
	); err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	return nil
}

// sweep removes what a term that was killed has left half written. Nobody waits
// for it, and the next term tries again.
func (p *parts) sweep(ctx context.Context) error {
	swept, err := p.Records.Sweep(ctx)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Sweeping the records")
	}
	if swept > 0 {
		klog.FromContext(ctx).Info("Removed what was left half written", "records", swept)
	}
	return nil
}

// brakeChanged wakes all sets. It is told from the prober, which must not wait.
func (p *parts) brakeChanged(ctx context.Context, mgr manager.Manager) {
	if err := clusterset.TriggerAll(ctx, mgr.GetClient(), p.setChanges); err != nil {
		klog.FromContext(ctx).Error(err, "Waking the sets after the brake changed")
	}
}

// forgetInventories drops all records of a cluster that is no longer registered, and of
// what is on the host for it.
func (p *parts) forgetInventories(ctx context.Context, ref fleet.Ref) error {
	if err := report.NewStore(inventory.OnRecords(p.Records)).DeleteCluster(ctx, ref); err != nil {
		return err
	}
	records, err := p.Inventories.ForCluster(ctx, ref)
	if err != nil {
		return err
	}
	local, err := p.Inventories.ForCluster(ctx, inventory.Host())
	if err != nil {
		return err
	}
	for _, record := range local {
		if record.Owner.Key() == record.Owner.Key().For(ref) {
			records = append(records, record)
		}
	}
	for _, record := range records {
		if err := p.Inventories.Delete(ctx, record.Cluster, record.Owner.Key()); err != nil {
			return err
		}
	}
	return nil
}

// ownerExists reports whether a profile that an object names as its owner is
// there.
func (p *parts) ownerExists(mgr manager.Manager) func(context.Context, inventory.OwnerKey) (bool, error) {
	return func(ctx context.Context, owner inventory.OwnerKey) (bool, error) {
		exists, _, err := profile.Exists(ctx, mgr.GetClient(), profile.Key{Kind: owner.Kind, Namespace: owner.Namespace, Name: owner.Name})
		return exists, err
	}
}
