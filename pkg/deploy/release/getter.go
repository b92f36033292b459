// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-project/muster/pkg/deploy/live"
)

// errNoClient says that a Cluster is not filled in.
var errNoClient = errors.New("the cluster has no client configuration")

// getter gives Helm its clients for one operation: the cluster's transport,
// bound to the operation's context, and nothing from files or the environment.
type getter struct {
	cluster   Cluster
	config    *rest.Config
	namespace string
}

func newGetter(ctx context.Context, cluster Cluster, namespace string) (*getter, error) {
	if cluster.Config == nil || cluster.Discovery == nil || cluster.Mapper == nil {
		return nil, errNoClient
	}
	config := rest.CopyConfig(cluster.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &boundTransport{ctx, next} })
	return &getter{cluster: cluster, config: config, namespace: namespace}, nil
}

// ToRESTConfig returns a copy: Helm writes to it.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

// ToDiscoveryClient returns the cluster's, which is shared with everybody.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.cluster.Discovery, nil
}

// ToRESTMapper returns the cluster's, which looks again for a kind that it
// does not find.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) {
	return freshMapper{g.cluster.Mapper}, nil
}

// ToRawKubeConfigLoader returns an empty configuration with the namespace.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}

// freshMapper looks a kind up with fresh discovery before it says that there
// is none.
type freshMapper struct {
	meta.ResettableRESTMapper
}

// RESTMapping implements meta.RESTMapper.
func (m freshMapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return live.Mapping(m.ResettableRESTMapper, gk, versions...)
}

// boundTransport ends requests when a context ends. Helm makes its requests
// without one: without this, an operation would go on after its term.
type boundTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *boundTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	release := func() { stop(); cancel(nil) }
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = &boundBody{ReadCloser: resp.Body, release: release}
	return resp, nil
}

// WrappedRoundTripper lets client-go look through the wrapper.
func (t *boundTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// boundBody frees a request's context when its answer was read.
type boundBody struct {
	io.ReadCloser
	once    sync.Once
	release func()
}

// Close implements io.Closer.
func (b *boundBody) Close() error {
	defer b.once.Do(b.release)
	return b.ReadCloser.Close()
}
