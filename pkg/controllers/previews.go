// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/muster-project/muster/pkg/controllers/clustersummary"
	"github.com/muster-project/muster/pkg/controllers/hostcluster"
	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/controllers/sveltoscluster"
	"github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
)

const (
	// previewsAtOnce is how many clusters one question is put to beside each other.
	previewsAtOnce = 8
	// previewIdle is how long a connection is kept that nobody asks through.
	previewIdle = 10 * time.Minute
)

// Previews finds out what applying profiles would change. It belongs to no term: followers
// answer as the leader does, and what it asks with has a write gate that is never opened,
// through which only reads and dry runs pass.
type Previews struct {
	profiles  *profile.Reconciler
	summaries *clustersummary.Reconciler
	clusters  *fleet.Clusters
	secrets   *sveltoscluster.Credentials

	mu       sync.Mutex
	versions map[fleet.Ref]usedCredentials
}

// usedCredentials are what a connection was made with, and when it was asked for last.
type usedCredentials struct {
	version string
	last    time.Time
}

// NewPreviews returns Previews. d needs neither a term nor an open gate.
func (d *Dependencies) NewPreviews() (*Previews, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	gate := term.NewGate(term.GateOptions{})
	reading := func(config *rest.Config) (readingCluster, error) {
		config = rest.CopyConfig(config)
		config.UserAgent = fmt.Sprintf("muster/%s (preview)", d.Replica)
		config.QPS = -1
		config.Wrap(gate.Wrap)
		return newReadingCluster(config, scheme)
	}
	muster, err := reading(d.Loopback)
	if err != nil {
		return nil, fmt.Errorf("building a client for previews: %w", err)
	}
	host, err := reading(d.Host)
	if err != nil {
		return nil, fmt.Errorf("building the host cluster's client for previews: %w", err)
	}
	hostCluster, err := hostcluster.New(host.config, scheme, d.Reach)
	if err != nil {
		return nil, err
	}
	hostReader := d.Reach.Reader(host.client)
	p := &Previews{
		secrets:  &sveltoscluster.Credentials{Clusters: muster.client, Host: hostReader, Secrets: hostReader},
		versions: map[fleet.Ref]usedCredentials{},
	}
	p.clusters = fleet.NewClusters(fleet.Options{
		Credentials: p.secrets, Tenants: &sveltoscluster.Tenants{Host: hostReader}, Wrap: gate.Wrap,
		UserAgent: func() string { return fmt.Sprintf("muster/%s (preview)", d.Replica) },
	})
	parts := &parts{Dependencies: d, revisions: revision.NewStore(d.Records), history: history.NewStore(d.Records, d.HistoryLimit)}
	p.profiles = &profile.Reconciler{
		Client: muster.client, Live: muster.client, Uncached: true, Members: d.Index, WaitCurrent: d.WaitCurrent, Revisions: parts.revisions, Now: time.Now,
	}
	if parts.objects, err = parts.newHostObjects(muster, host); err != nil {
		return nil, err
	}
	p.summaries = parts.newSummaries(muster, host, hostCluster, p.clusters, nil)
	return p, nil
}

// readingCluster is what is left of a manager, or of its host cluster, where there is no
// term: clients that read, and no cache.
type readingCluster struct {
	manager.Manager
	config *rest.Config
	http   *http.Client
	client client.Client
}

func newReadingCluster(config *rest.Config, scheme *runtime.Scheme) (readingCluster, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return readingCluster{}, err
	}
	reader, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: scheme})
	return readingCluster{config: config, http: httpClient, client: reader}, err
}

// GetClient implements cluster.Cluster.
func (c readingCluster) GetClient() client.Client { return c.client }

// GetAPIReader implements cluster.Cluster.
func (c readingCluster) GetAPIReader() client.Reader { return c.client }

// GetConfig implements cluster.Cluster.
func (c readingCluster) GetConfig() *rest.Config { return c.config }

// GetHTTPClient implements cluster.Cluster.
func (c readingCluster) GetHTTPClient() *http.Client { return c.http }

// GetRESTMapper implements cluster.Cluster.
func (c readingCluster) GetRESTMapper() meta.RESTMapper { return c.client.RESTMapper() }

// Diff implements what subresource diff asks for; see registry/config/diff.Differ.
func (p *Previews) Diff(ctx context.Context, owner inventory.OwnerKey, only *types.NamespacedName) ([]report.Report, error) {
	reach, err := p.profiles.Reach(ctx, profile.Key{Kind: owner.Kind, Namespace: owner.Namespace, Name: owner.Name})
	if err != nil {
		return nil, err
	}
	matches := map[fleet.Ref]bool{}
	for _, ref := range reach.Matching {
		matches[ref] = true
	}
	refs := slices.Concat(reach.Matching, reach.Others)
	if only != nil {
		refs = slices.DeleteFunc(refs, func(r fleet.Ref) bool { return r.Namespace != only.Namespace || r.Name != only.Name })
		if len(refs) == 0 {
			return nil, report.ErrNoMatch
		}
	}
	slices.SortFunc(refs, fleet.Ref.Compare)
	reports := make([]report.Report, len(refs))
	var group errgroup.Group
	group.SetLimit(previewsAtOnce)
	for i, ref := range refs {
		group.Go(func() error {
			reports[i] = p.one(ctx, inventory.Owner{Kind: owner.Kind, Namespace: owner.Namespace, Name: owner.Name}, reach, ref, matches[ref])
			return nil
		})
	}
	return reports, group.Wait()
}

// one looks at one cluster.
func (p *Previews) one(ctx context.Context, owner inventory.Owner, reach profile.Reach, ref fleet.Ref, matches bool) report.Report {
	out := report.Report{Cluster: ref, Owner: owner, Time: metav1.Now()}
	if ctx.Err() != nil {
		out.Failure = "not looked at within the time that a request has; ask for this cluster alone"
		return out
	}
	err := p.refresh(ctx, ref)
	if err == nil {
		out.Preview, err = p.summaries.Preview(ctx, owner, reach, ref, matches)
	}
	if err != nil {
		out.Failure = err.Error()
	}
	return out
}

// refresh forgets a connection whose credentials have changed, and connections that
// nobody uses any more. No watch tells of either.
func (p *Previews) refresh(ctx context.Context, ref fleet.Ref) error {
	_, version, err := p.secrets.Kubeconfig(ctx, ref)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig of %s: %w", ref, err)
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.versions[ref]; ok && known.version != version {
		p.clusters.Forget(ref)
	}
	p.versions[ref] = usedCredentials{version: version, last: now}
	for other, used := range p.versions {
		if now.Sub(used.last) > previewIdle {
			p.clusters.Forget(other)
			delete(p.versions, other)
		}
	}
	return nil
}
