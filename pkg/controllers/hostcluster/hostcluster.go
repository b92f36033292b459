// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostcluster makes the host a cluster that profiles deploy to, as Muster or
// as a tenant, whose ServiceAccount is impersonated. What either may do there the host's
// RBAC says; by default Muster may write nothing.
package hostcluster

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// registration stands for the UID that a managed cluster's registration has.
const registration types.UID = "host"

// Host is the host cluster. It is safe for concurrent use, and starts nothing.
type Host struct {
	config *rest.Config
	scheme *runtime.Scheme
	reach  reach.Namespaces
	// discovery and mapper are asked as Muster, whoever deploys.
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper

	mu      sync.Mutex
	id      fleet.ClusterID // once it is known
	clients map[fleet.Identity]*clients
}

// clients are those of one identity.
type clients struct {
	config  *rest.Config
	http    *http.Client
	dynamic dynamic.Interface
	reader  client.Reader
}

// New returns the host that a config reaches, which has the write gate in it. What is
// read of it is in the namespaces that are in reach.
func New(config *rest.Config, scheme *runtime.Scheme, namespaces reach.Namespaces) (*Host, error) {
	uncached, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a discovery client of the host cluster: %w", err)
	}
	cached := memory.NewMemCacheClient(uncached)
	return &Host{
		config: config, scheme: scheme, reach: namespaces, discovery: cached,
		mapper:  restmapper.NewDeferredDiscoveryRESTMapper(cached),
		clients: map[fleet.Identity]*clients{},
	}, nil
}

// Cluster is the host as a cluster to deploy to. It asks the host who it is, once.
func (h *Host) Cluster(ctx context.Context, as fleet.Identity) (deploy.Cluster, error) {
	id, err := h.clusterID(ctx)
	if err != nil {
		return deploy.Cluster{}, err
	}
	c, err := h.clientsOf(as)
	if err != nil {
		return deploy.Cluster{}, err
	}
	return deploy.Cluster{
		Ref: inventory.Host(), UID: registration, ID: id,
		Config: c.config, Dynamic: c.dynamic, Discovery: h.discovery, Mapper: h.mapper,
	}, nil
}

// Client reaches the host as a fleet.Client reaches a managed cluster, for those who ask for
// both in one way. It knows of no fences, nor whom it reaches. A tenant's account has to
// exist each time.
func (h *Host) Client(ctx context.Context, as fleet.Identity) (*fleet.Client, error) {
	if !as.IsZero() {
		if err := h.CheckAccount(ctx, as); err != nil {
			return nil, fmt.Errorf("acting as %s: %w", as.UserName(), err)
		}
	}
	c, err := h.clientsOf(as)
	if err != nil {
		return nil, err
	}
	return &fleet.Client{
		Ref: inventory.Host(), As: as, Config: c.config, HTTP: c.http,
		Dynamic: c.dynamic, Discovery: h.discovery, Mapper: h.mapper,
	}, nil
}

// Reader reads what is in reach, not through a cache.
func (h *Host) Reader(as fleet.Identity) (client.Reader, error) {
	c, err := h.clientsOf(as)
	if err != nil {
		return nil, err
	}
	return c.reader, nil
}

// CheckAccount returns an error unless a tenant's account exists: a name that is
// nobody's could be impersonated all the same.
func (h *Host) CheckAccount(ctx context.Context, as fleet.Identity) error {
	c, err := h.clientsOf(fleet.Identity{})
	if err != nil {
		return err
	}
	gvr := corev1.SchemeGroupVersion.WithResource("serviceaccounts")
	_, err = c.dynamic.Resource(gvr).Namespace(as.ServiceAccountNamespace).Get(ctx, as.ServiceAccountName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("it does not exist on the host: %w", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w; Muster needs the rights to get and to impersonate ServiceAccounts there (in the chart: rbac.tenantNamespaces)", err)
	}
	return err
}

// clusterID is the UID of the host's kube-system namespace.
func (h *Host) clusterID(ctx context.Context) (fleet.ClusterID, error) {
	h.mu.Lock()
	id := h.id
	h.mu.Unlock()
	if id != "" {
		return id, nil
	}
	c, err := h.clientsOf(fleet.Identity{})
	if err != nil {
		return "", err
	}
	gvr := corev1.SchemeGroupVersion.WithResource("namespaces")
	system, err := c.dynamic.Resource(gvr).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the host cluster who it is: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.id = fleet.ClusterID(system.GetUID())
	return h.id, nil
}

func (h *Host) clientsOf(as fleet.Identity) (*clients, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.clients[as]; c != nil {
		return c, nil
	}
	config := rest.CopyConfig(h.config)
	// The host adds the groups that every ServiceAccount is in.
	config.Impersonate = rest.ImpersonationConfig{UserName: as.UserName()}
	sender, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host cluster: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfigAndClient(config, sender)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host cluster: %w", err)
	}
	typed, err := client.New(config, client.Options{HTTPClient: sender, Scheme: h.scheme, Mapper: h.mapper})
	if err != nil {
		return nil, fmt.Errorf("making a client of the host cluster: %w", err)
	}
	c := &clients{config: config, http: sender, dynamic: dynamicClient, reader: h.reach.Reader(typed)}
	h.clients[as] = c
	return c, nil
}
