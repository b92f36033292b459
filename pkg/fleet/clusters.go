// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// DefaultInFlight is how many requests to one cluster may be under way,
	// those of all identities together, streams and probes not counted.
	DefaultInFlight = 16
	// credentialsRetry is how long a kubeconfig that cannot be used is not
	// read again unless Forget says that it changed.
	credentialsRetry = 30 * time.Second
	// discoveryIdle is how long the discovery of a cluster that nobody talks
	// to is kept. It is by far the largest thing that is held of a cluster.
	discoveryIdle = 10 * time.Minute
)

// Options configure Clusters.
type Options struct {
	// Credentials is required.
	Credentials CredentialSource
	// Tenants, if set, has the credentials of identities other than Muster's own.
	// Without it they are impersonated.
	Tenants TenantSource
	// Wrap, if set, is put around the transport of every connection, below
	// every wait: the write gate.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Dial, if set, makes the connections: the write gate once more, beneath
	// everything. Default: a net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// UserAgent is asked for every request, because it carries the epoch,
	// which changes. Default "muster".
	UserAgent func() string
	// Fencing, if set, says which clusters are fenced.
	Fencing *Fencing
	// InFlight is the limit of requests under way to one cluster; default
	// DefaultInFlight.
	InFlight int

	// newTransport replaces the network in tests.
	newTransport func(*connection) http.RoundTripper
}

func (o *Options) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	if o.Dial != nil {
		return o.Dial
	}
	return (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
}

func (o *Options) userAgent() string {
	if o.UserAgent == nil {
		return "muster"
	}
	return o.UserAgent()
}

func (o *Options) inFlight() int {
	if o.InFlight <= 0 {
		return DefaultInFlight
	}
	return o.InFlight
}

// Clusters is the factory of all clients of managed clusters. It is safe for
// concurrent use, starts no goroutines, and holds what it holds of a cluster
// until Forget.
type Clusters struct {
	options Options
	// suspect is the running prober's, told when a connection breaks.
	suspect atomic.Pointer[func(Ref)]

	mu      sync.Mutex
	entries map[Ref]*entry
}

// NewClusters returns a factory without any clusters; they are looked up when
// they are first asked for.
func NewClusters(options Options) *Clusters {
	return &Clusters{options: options, entries: map[Ref]*entry{}}
}

// entry is what is held of one cluster from the first use to Forget.
type entry struct {
	// reading is held, by a value in it, while the credentials are read, so
	// that they are read once, and by nobody who has given up waiting.
	reading chan struct{}

	mu         sync.Mutex
	forgotten  bool
	connection *connection
	clients    map[Identity]*Client
	catalog    *catalog // of the cluster, shared by its clients
	// err is why there is no connection, believed until retry.
	err   *CredentialsError
	retry time.Time
}

// Client returns the client of a cluster that acts as the given identity: the
// same one until the credentials change. It does not connect. The error is a
// *CredentialsError if the kubeconfig is missing or cannot be used, anything
// else if it could not be read.
//
// Requests fail with ErrUnreachable, at once, while the cluster is known to be
// unreachable.
func (c *Clusters) Client(ctx context.Context, ref Ref, as Identity) (*Client, error) {
	token, err := c.token(ctx, ref, as)
	if err != nil {
		return nil, err
	}
	for {
		e := c.entry(ref)
		connection, err := c.connect(ctx, ref, e)
		if err != nil {
			return nil, err
		}
		client, err := e.client(connection, as, token)
		if err != nil {
			return nil, err
		}
		if client != nil {
			return client, nil
		}
	}
}

// Forget drops what is held of a cluster: call it when its kubeconfig Secret
// changed or its registration is gone. The next Client reads the credentials
// anew; clients handed out before finish their requests with the old ones, but
// their streams end with ErrForgotten.
func (c *Clusters) Forget(ref Ref) {
	c.mu.Lock()
	e := c.entries[ref]
	delete(c.entries, ref)
	c.mu.Unlock()
	if e != nil {
		e.forget()
	}
}

func (c *Clusters) entry(ref Ref) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[ref]
	if e == nil {
		e = &entry{reading: make(chan struct{}, 1)}
		c.entries[ref] = e
	}
	return e
}

// connection returns the cluster's connection, reading the credentials if
// there is none.
func (c *Clusters) connection(ctx context.Context, ref Ref) (*connection, error) {
	for {
		e := c.entry(ref)
		connection, err := c.connect(ctx, ref, e)
		if err != nil || connection != nil {
			return connection, err
		}
	}
}

// connect returns the entry's connection, making it if necessary; nil without
// an error means that the entry was forgotten meanwhile.
func (c *Clusters) connect(ctx context.Context, ref Ref, e *entry) (*connection, error) {
	if connection, err, known := e.current(); known {
		return connection, err
	}
	select {
	case e.reading <- struct{}{}:
		defer func() { <-e.reading }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the kubeconfig of %s: %w", ref, context.Cause(ctx))
	}
	if connection, err, known := e.current(); known {
		return connection, err
	}
	connection, err := c.open(ctx, ref)
	if invalid := asCredentialsError(err); invalid != nil {
		e.setError(invalid)
		return nil, invalid
	}
	if err != nil {
		return nil, err
	}
	return e.setConnection(connection), nil
}

// open reads the credentials and prepares a connection with them.
func (c *Clusters) open(ctx context.Context, ref Ref) (*connection, error) {
	data, version, err := c.options.Credentials.Kubeconfig(ctx, ref)
	if invalid := asCredentialsError(err); invalid != nil {
		return nil, invalid
	}
	if apierrors.IsNotFound(err) {
		return nil, credentialsErrorf(ReasonMissing, "the kubeconfig Secret does not exist")
	}
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of %s: %w", ref, err)
	}
	config, err := ParseKubeconfig(data)
	if err != nil {
		return nil, err
	}
	connection, err := newConnection(ref, config, version, &c.options, func() { c.suspected(ref) })
	if err != nil {
		return nil, err
	}
	if connection.barrier, err = newBarrier(ctx, connection, c.options.Fencing); err != nil {
		return nil, err
	}
	return connection, nil
}

// recheck reads the version of the credentials again after the cluster refused
// them, and forgets them if it changed: the safety net for a missed Forget.
func (c *Clusters) recheck(ctx context.Context, connection *connection) error {
	_, version, err := c.options.Credentials.Kubeconfig(ctx, connection.ref)
	if err != nil {
		return fmt.Errorf("read the kubeconfig of %s: %w", connection.ref, err)
	}
	if version != connection.version {
		c.Forget(connection.ref)
	}
	return nil
}

func (c *Clusters) suspected(ref Ref) {
	if suspect := c.suspect.Load(); suspect != nil {
		(*suspect)(ref)
	}
}

// trim drops the discovery of a cluster that nobody has talked to for long.
func (c *Clusters) trim(ref Ref) {
	c.mu.Lock()
	e := c.entries[ref]
	c.mu.Unlock()
	if e != nil {
		e.trim(time.Now())
	}
}

// current returns what is known without reading anything.
func (e *entry) current() (_ *connection, err error, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.forgotten:
		return nil, nil, true
	case e.connection != nil:
		return e.connection, nil, true
	case e.err != nil && time.Now().Before(e.retry):
		return nil, e.err, true
	}
	return nil, nil, false
}

func (e *entry) setError(err *CredentialsError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err, e.retry = err, time.Now().Add(credentialsRetry)
}

// setConnection returns nil if the entry was forgotten while the credentials
// were read, which may then be the old ones.
func (e *entry) setConnection(connection *connection) *connection {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.forgotten {
		return nil
	}
	e.connection, e.err = connection, nil
	return connection
}

// client returns the client of an identity with a token of its own, if that is not
// empty; nil if the entry was forgotten.
func (e *entry) client(connection *connection, as Identity, token string) (*Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.forgotten || connection == nil {
		return nil, nil
	}
	if client := e.clients[as]; client != nil && client.token == token {
		return client, nil
	}
	if e.catalog == nil {
		catalog, err := newCatalog(connection)
		if err != nil {
			return nil, err
		}
		e.catalog = catalog
	}
	client, err := newClient(connection, as, token, e.catalog)
	if err != nil {
		return nil, err
	}
	if e.clients == nil {
		e.clients = map[Identity]*Client{}
	}
	e.clients[as] = client
	return client, nil
}

func (e *entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	if e.connection != nil {
		e.connection.retire()
	}
}

func (e *entry) trim(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.catalog != nil && now.UnixNano()-e.connection.used.Load() > int64(discoveryIdle) {
		// The clients go with it: they are cheap to make.
		e.catalog, e.clients = nil, nil
	}
}
