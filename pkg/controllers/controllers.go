// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers puts together what runs during one term of leadership:
// one manager with the reconcilers of all kinds, the prober, and the workers of
// the managed clusters. Each term builds all of it anew, and nothing of it is
// left when the term has ended.
package controllers

import (
	"context"
	"fmt"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/egress"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/records"
)

const (
	// dialTimeout bounds the making of a TCP connection, where nothing else
	// does so sooner.
	dialTimeout = 30 * time.Second
	// keepAlive is the period of TCP's own probes.
	keepAlive = 15 * time.Second
)

// Dependencies are what outlives a term.
type Dependencies struct {
	// Loopback reaches Muster's own API, Host the host cluster. The write gate
	// is added to both.
	Loopback *rest.Config
	Host     *rest.Config
	// Reach are the namespaces of the host that are read.
	Reach reach.Namespaces
	Gate  *term.Gate
	// Installation names the installation that the storage belongs to: a fence in a
	// managed cluster is for its leaders.
	Installation func(context.Context) (string, error)
	// Replica names this process, in the User-Agent of everything that it writes.
	Replica string

	Index *selection.Index
	// WaitCurrent returns when the index has reached the store's current
	// revision; a term begins with that.
	WaitCurrent func(context.Context) (int64, error)

	// Records hold the revisions of profiles, the inventories, and what a term that
	// was killed has left half written.
	Records     *records.Store
	Inventories *inventory.Store
	Renderer    *render.Renderer
	// Scripts evaluate what users wrote in Lua.
	Scripts *script.Pool
	// Builds builds kustomizations and renders charts: it has more time and memory, and nobody who
	// evaluates a template waits for it.
	Builds *script.Pool
	// Mirror maps the URL of a chart repository to the one to fetch from.
	Mirror func(string) string
	// Addresses are those that sources and charts are fetched from.
	Addresses egress.Policy
	Prober    fleet.ProberOptions
	// HistoryLimit is how many entries the history of a profile has, 10 if zero.
	HistoryLimit int
	// Elected says that there are other replicas, whose writes may have come
	// late.
	Elected bool
}

// NewTerm builds the controllers of one term. It returns before any of them
// runs.
func (d *Dependencies) NewTerm(ctx context.Context, t term.Term) (term.Starter, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	// An index that is still empty would say that no cluster matches anything.
	if _, err := d.WaitCurrent(ctx); err != nil {
		return nil, fmt.Errorf("waiting for the index: %w", err)
	}
	mgr, host, err := d.newManager(ctx, t, scheme)
	if err != nil {
		return nil, err
	}
	p, err := d.newParts(ctx, t, mgr, host)
	if err != nil {
		return nil, err
	}
	if err := p.setup(ctx, mgr, host); err != nil {
		return nil, err
	}
	return mgr, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, libv1beta1.AddToScheme, configv1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the controllers' scheme: %w", err)
		}
	}
	return scheme, nil
}

// userAgent proves in audit logs which replica wrote something, and in which
// term.
func (d *Dependencies) userAgent(t term.Term) string {
	return fmt.Sprintf("muster/%s (epoch %d)", d.Replica, t.Epoch)
}

// dial makes the connections of a term, which end with it.
func (d *Dependencies) dial(t term.Term) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	return d.Gate.Dial(t.Epoch, dialer.DialContext)
}

// gated is config with the write gate in its transport and its connections. A
// dialer of its own also keeps client-go from sharing the transport, and its
// connections, with another term's clients.
func (d *Dependencies) gated(config *rest.Config, t term.Term) *rest.Config {
	gated := rest.CopyConfig(config)
	gated.UserAgent = d.userAgent(t)
	gated.Wrap(d.Gate.Wrap)
	gated.Dial = d.dial(t)
	// The servers have priority and fairness; a second limit in the client
	// would only hold up a fail-over behind routine work.
	gated.QPS = -1
	return gated
}

// newManager builds the manager, which works on Muster's API, and the host
// cluster beside it.
func (d *Dependencies) newManager(ctx context.Context, t term.Term, scheme *runtime.Scheme) (manager.Manager, cluster.Cluster, error) {
	logger := klog.FromContext(ctx)
	mgr, err := ctrl.NewManager(d.gated(d.Loopback, t), manager.Options{
		Scheme: scheme,
		Logger: logger,
		Cache:  cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		// Election is outside: a manager that loses one returns while its
		// reconcilers may still run.
		LeaderElection: false,
		// The runner has a limit for the whole drain, and knows what to do then.
		GracefulShutdownTimeout: ptr.To(time.Duration(-1)),
		// A process has many terms, and a manager in each.
		Controller:             config.Controller{SkipNameValidation: ptr.To(true)},
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		return nil, nil, fmt.Errorf("building the manager: %w", err)
	}
	host, err := cluster.New(d.gated(d.Host, t), func(o *cluster.Options) {
		o.Scheme = scheme
		o.Logger = logger
		o.Cache = d.hostCache()
		// Contents of Secrets and ConfigMaps are read when they are used.
		o.Client = client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("building the host cluster's client: %w", err)
	}
	if err := mgr.Add(host); err != nil {
		return nil, nil, fmt.Errorf("adding the host cluster: %w", err)
	}
	return mgr, host, nil
}

// hostCache has the metadata of Secrets and ConfigMaps: of all namespaces at
// once, or of each that is in reach, where the host would refuse a watch of all.
func (d *Dependencies) hostCache() cache.Options {
	return cache.Options{DefaultTransform: cache.TransformStripManagedFields(), DefaultNamespaces: d.Reach.CacheNamespaces()}
}
