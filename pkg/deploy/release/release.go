// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package release deploys Helm charts. Beside package rendering below it, it is the
// only package that imports Helm, and no type of Helm's leaves it, so that another major version of Helm
// is a change of this package alone.
//
// Nothing of Helm's own configuration is read: no kubeconfig, no HELM_*
// variables, no plugins, no repositories file. Releases are stored where
// upstream's helm stores them, Secrets in the release's namespace, so that
// `helm list` and `helm rollback` work on them.
package release

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/deploy/release/rendering"
	"github.com/muster-project/muster/pkg/render/egress"
	"github.com/muster-project/muster/pkg/render/memo"
)

// Release is what should be deployed.
type Release struct {
	Namespace string
	Name      string
	Chart     *Chart
	// Values override the chart's own. They are not written to.
	Values map[string]any
	// PostRender changes the manifests that the chart renders, hooks only if the
	// settings say so; nil changes nothing.
	PostRender func(manifests []byte) ([]byte, error)
	// PostRenderHash is of what PostRender does, at most 63 letters and digits,
	// empty without one. A release whose hash is another one is upgraded.
	PostRenderHash string
	// Rollback says that the release may have been this one before: if Helm has it in
	// its history, it goes back to it.
	Rollback bool
	// Sensitive are strings that no error or log may carry, values that came
	// from Secrets above all. Short ones (under four bytes) are not masked.
	Sensitive []string
	// Settings say how Helm deploys it.
	Settings Settings
	// OwnerOf says of which profile's manifests an object is, "" for none. Settings
	// that take objects over need it: those of a profile are not taken.
	OwnerOf func(metav1.Object) string
}

// Cluster is how a managed cluster is reached. All parts go through the same
// transport, with its write gate and breaker.
type Cluster struct {
	// Name is how errors and logs name it.
	Name      string
	Config    *rest.Config
	Discovery discovery.CachedDiscoveryInterface
	Mapper    meta.ResettableRESTMapper
}

// Action is what Deploy did.
type Action string

const (
	// Unchanged means that the release was as it should be; nothing was written.
	Unchanged Action = "Unchanged"
	// Installed means that there was no working release before.
	Installed Action = "Installed"
	// Upgraded means that there was one, with another chart, values or status.
	Upgraded Action = "Upgraded"
)

// Outcome is the release as it is after Deploy.
type Outcome struct {
	Action Action
	// Revision is Helm's, counted from 1.
	Revision int
	// Chart, Version, AppVersion and Icon are the chart's metadata.
	Chart      string
	Version    string
	AppVersion string
	Icon       string
	// ValuesHash is of the values that the release was deployed with.
	ValuesHash string
}

// Options configure a Manager. The zero value works.
type Options struct {
	// Mirror maps a URL to the one that is fetched in its place; nil keeps
	// every URL. The result is trusted to be what the operator wants: an oci
	// URL that is mapped to an http one is fetched as OCI over plain HTTP.
	Mirror func(url string) string
	// Addresses are those that are fetched from.
	Addresses egress.Policy
	// FetchTimeout bounds one download, 30 s if zero.
	FetchTimeout time.Duration
	// FetchLimit bounds the bytes of one download, 32 MiB if zero.
	FetchLimit int64
	// CacheLimit bounds the bytes of charts kept in memory, 128 MiB if zero.
	CacheLimit int64
	// IndexTTL is how long what a repository said of a chart is used without
	// asking again, 1 min if zero.
	IndexTTL time.Duration
	// Timeout bounds each wait of Helm for a hook or a CRD, 5 min if zero, where a
	// release's settings don't.
	Timeout time.Duration
	// MaxHistory is how many revisions of a release are kept, 2 if zero, where its
	// settings don't say.
	MaxHistory int
	// Rendering renders the templates of charts in processes that can be ended, once for
	// all clusters where it can. With nil Helm renders them in this process.
	Rendering *rendering.Renderer
}

func (o Options) withDefaults() Options {
	if o.Mirror == nil {
		o.Mirror = func(url string) string { return url }
	}
	o.FetchTimeout = cmp.Or(o.FetchTimeout, 30*time.Second)
	o.FetchLimit = cmp.Or(o.FetchLimit, 32<<20)
	o.CacheLimit = cmp.Or(o.CacheLimit, 128<<20)
	o.IndexTTL = cmp.Or(o.IndexTTL, time.Minute)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Minute)
	o.MaxHistory = cmp.Or(o.MaxHistory, 2)
	return o
}

// Manager loads charts and deploys releases. It is safe for concurrent use;
// two calls for the same release of the same cluster must not overlap.
type Manager struct {
	options    Options
	repository *repository
	// served is what clusters serve, by the client that is shared by all who ask one.
	served *memo.Cache[discovery.CachedDiscoveryInterface, served]
	begin  beginFunc
}

// NewManager returns a Manager.
func NewManager(options Options) *Manager {
	options = options.withDefaults()
	m := &Manager{
		options: options, repository: newRepository(options),
		served: memo.NewCache[discovery.CachedDiscoveryInterface, served](knownClusters),
	}
	m.begin = m.beginOnCluster
	return m
}
