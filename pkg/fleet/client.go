// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// ClusterID tells one cluster from another behind the same address: the UID of
// its kube-system namespace.
type ClusterID string

// Client talks to one managed cluster as one identity. All its parts send
// their requests through the same transport, which has the credentials, the
// write gate, the breaker and the limit of requests in flight in it, and which
// no setting of a caller's takes out again.
type Client struct {
	// Ref is the cluster's registration, As on whose behalf it is talked to.
	Ref Ref
	As  Identity

	// Config is for libraries that make their own clients (Helm's
	// RESTClientGetter). It has the transport and no credentials, and no
	// client-side rate limit: the server has priority and fairness.
	Config *rest.Config
	// HTTP sends requests to the server in Config.Host, and to no other.
	HTTP    *http.Client
	Dynamic dynamic.Interface
	// Discovery and Mapper are cached in memory, shared by all identities and
	// asked as Muster: what kinds exist is no secret, and is large. After a
	// CRD was applied, Mapper.Reset() makes both look again; a kind that is
	// not found does so by itself.
	Discovery discovery.CachedDiscoveryInterface
	Mapper    meta.ResettableRESTMapper

	connection *connection
	// token is the identity's own, empty where it is Muster or impersonated.
	token string
}

// ClusterID asks the cluster which one it is, as Muster whoever the client
// acts for: a tenant needs no right to read kube-system for it.
func (c *Client) ClusterID(ctx context.Context) (ClusterID, error) {
	id, err := c.connection.clusterID(ctx)
	if err != nil {
		return "", fmt.Errorf("identify the cluster behind %s: %w", c.Ref, err)
	}
	return id, nil
}

// catalog is what a cluster can hold, as far as it has been asked.
type catalog struct {
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper
}

func newCatalog(connection *connection) (*catalog, error) {
	config, client := connection.as(Identity{}, "")
	uncached, err := discovery.NewDiscoveryClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make a discovery client for %s: %w", connection.ref, err)
	}
	cached := memory.NewMemCacheClient(uncached)
	return &catalog{cached, restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

func newClient(connection *connection, as Identity, token string, catalog *catalog) (*Client, error) {
	config, client := connection.as(as, token)
	dynamicClient, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", connection.ref, err)
	}
	return &Client{
		Ref:        connection.ref,
		As:         as,
		Config:     config,
		HTTP:       client,
		Dynamic:    dynamicClient,
		Discovery:  catalog.discovery,
		Mapper:     catalog.mapper,
		connection: connection,
		token:      token,
	}, nil
}

// as returns the two ways to send requests as an identity, which is impersonated
// unless it has a token.
func (c *connection) as(as Identity, token string) (*rest.Config, *http.Client) {
	transport := &identityTransport{connection: c, as: as, token: token, stamp: c.barrier.pass}
	config := &rest.Config{
		Host:           c.host,
		Transport:      transport,
		QPS:            -1,
		WarningHandler: rest.NoWarnings{},
	}
	return config, &http.Client{Transport: transport}
}

// maxAnswer bounds what is read of an answer to the requests made here.
const maxAnswer = 64 << 10

// errAnswer is an answer that is not what was asked for, a 200 included.
type errAnswer struct {
	path   string
	status int
}

func (e *errAnswer) Error() string {
	if e.status == http.StatusOK {
		return e.path + " does not answer as an API server does"
	}
	return fmt.Sprintf("%s answers %d %s", e.path, e.status, http.StatusText(e.status))
}

// get asks for path as Muster and returns the status and at most maxAnswer
// bytes of the answer.
func (c *connection) get(ctx context.Context, path, accept string) (status int, body []byte, err error) {
	target, err := url.JoinPath(c.host, path)
	if err != nil {
		return 0, nil, fmt.Errorf("join the server's address and %s: %w", path, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("make a request for %s: %w", path, err)
	}
	req.Header.Set("Accept", accept)
	resp, err := (&identityTransport{connection: c}).RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// clusterID reads the kube-system namespace's UID.
func (c *connection) clusterID(ctx context.Context) (ClusterID, error) {
	const path = "/api/v1/namespaces/kube-system"
	status, body, err := c.get(ctx, path, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json")
	if err != nil {
		return "", err
	}
	var namespace struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &namespace) != nil || namespace.Metadata.UID == "" {
		return "", &errAnswer{path, status}
	}
	return ClusterID(namespace.Metadata.UID), nil
}

// serverVersion reads the version that the API server reports, "v1.37.0".
func (c *connection) serverVersion(ctx context.Context) (string, error) {
	const path = "/version"
	status, body, err := c.get(ctx, path, "application/json")
	if err != nil {
		return "", err
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &version) != nil || version.GitVersion == "" {
		return "", &errAnswer{path, status}
	}
	return version.GitVersion, nil
}
