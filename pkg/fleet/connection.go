// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// connectTimeout bounds TCP and TLS handshakes together.
	connectTimeout = 5 * time.Second
	// silence is how long an HTTP/2 connection may bring nothing before it is
	// pinged, and pingTimeout how long the answer may take. Together they end
	// a connection whose packets vanish before the second probe after the
	// first failure, which then makes a new one: a dropped NAT entry must not
	// pass for a dead cluster. Probes, being more frequent, keep the pings of
	// healthy connections from ever being sent.
	silence     = 5500 * time.Millisecond
	pingTimeout = 2 * time.Second
	// idleTimeout ends a connection that nobody uses any more, which happens
	// to those of forgotten clusters only: probes use all others.
	idleTimeout = 30 * time.Second
	// answerTimeout is how long an answer's head may take: a little more than
	// the minute that API servers give a request.
	answerTimeout = 65 * time.Second
	// requestTimeout bounds a request that is no stream, body included, when
	// its caller sets no deadline.
	requestTimeout = 2 * time.Minute
	// settledAge is how old a connection is when its loss means something. A
	// load balancer that closes young connections would otherwise trigger a
	// probe, on a new one, and so on without end.
	settledAge = 5 * time.Second
)

// connection is what one set of credentials needs to talk to one cluster: in
// the common case one HTTP/2 connection, which all identities share since they
// differ in headers only. It is made to be small: a thousand idle ones are the
// normal case.
type connection struct {
	ref     Ref
	version string // of the credentials
	host    string // the kubeconfig's server, a URL with no trailing slash
	server  *url.URL
	address string // host:port, for messages

	authorization string
	userAgent     func() string

	connect   func(ctx context.Context, network, address string) (net.Conn, error)
	transport http.RoundTripper // innermost, the write gate around it
	closeIdle func()
	// anonymous is the transport without the client certificate, made when the first
	// tenant asks. It is nil where there is no certificate to leave out.
	anonymous func() http.RoundTripper
	suspect   func() // tells the prober that something broke

	barrier *barrier // nil where there are no fences
	breaker breaker
	slots   chan struct{}
	streams streams
	// dials counts connections made; another one may lead to another cluster.
	dials atomic.Int64
	// used is when anybody but the prober last asked, in Unix nanoseconds.
	used atomic.Int64
}

// newConnection prepares a connection; nothing is dialled before the first
// request.
func newConnection(ref Ref, config *rest.Config, version string, options *Options, suspect func()) (*connection, error) {
	server, err := url.Parse(config.Host)
	if err != nil {
		return nil, credentialsErrorf(ReasonInvalid, "kubeconfig's server is no URL: write https://host:port")
	}
	roots, err := certPool(config.CAData)
	if err != nil {
		return nil, err
	}
	certificates, err := clientCertificates(config.TLSClientConfig)
	if err != nil {
		return nil, err
	}
	c := &connection{
		ref:           ref,
		version:       version,
		host:          config.Host,
		server:        server,
		address:       withPort(server),
		authorization: authorization(config),
		userAgent:     options.userAgent,
		suspect:       suspect,
		connect:       options.dialer(),
		slots:         make(chan struct{}, options.inFlight()),
	}
	if options.newTransport != nil {
		c.transport, c.closeIdle = options.newTransport(c), func() {}
	} else {
		tlsConfig := &tls.Config{
			MinVersion:   tls.VersionTLS12,
			RootCAs:      roots,
			Certificates: certificates,
			ServerName:   config.ServerName,
			NextProtos:   []string{"h2", "http/1.1"},
		}
		if tlsConfig.ServerName == "" {
			tlsConfig.ServerName = server.Hostname()
		}
		base := c.newTransport(tlsConfig, config.DisableCompression)
		c.transport, c.closeIdle = base, base.CloseIdleConnections
		if len(certificates) > 0 {
			c.anonymous = c.newAnonymous(tlsConfig, config.DisableCompression, options.Wrap)
		}
	}
	if options.Wrap != nil {
		c.transport = options.Wrap(c.transport)
	}
	return c, nil
}

func withPort(server *url.URL) string {
	if server.Port() != "" {
		return server.Host
	}
	return net.JoinHostPort(server.Hostname(), "443")
}

func authorization(config *rest.Config) string {
	switch {
	case config.BearerToken != "":
		return "Bearer " + config.BearerToken
	case config.Username != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(config.Username+":"+config.Password))
	}
	return ""
}

// newTransport returns a transport that speaks HTTP/2, or HTTP/1.1 to a proxy
// that knows nothing newer, and uses no proxy of the environment's.
func (c *connection) newTransport(tlsConfig *tls.Config, disableCompression bool) *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.dial(ctx, network, address, tlsConfig)
		},
		ForceAttemptHTTP2:     true,
		DisableCompression:    disableCompression,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       idleTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ReadBufferSize:        4 << 10,
		WriteBufferSize:       4 << 10,
		HTTP2: &http.HTTP2Config{
			// A reader that falls behind may hold this much of each stream.
			// The window of the whole connection stays wide open: were it
			// small, slow readers could starve the probes.
			MaxReceiveBufferPerStream: 1 << 20,
			MaxReadFrameSize:          16 << 10,
			SendPingTimeout:           silence,
			PingTimeout:               pingTimeout,
			WriteByteTimeout:          connectTimeout,
		},
	}
}

// dial makes the TLS connection itself, rather than leave it to the
// transport, to see every failure, one during the handshake included, and
// whoever's request caused it.
func (c *connection) dial(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	// The transport dials on behalf of all waiting requests, with a context
	// that outlives each of them.
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := c.connect(ctx, network, address)
	if err != nil {
		c.dialFailed(err)
		return nil, err
	}
	conn := tls.Client(&watchedConn{Conn: raw, opened: time.Now(), lost: c.suspect}, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		c.dialFailed(err)
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	c.dials.Add(1)
	return conn, nil
}

func (c *connection) dialFailed(err error) {
	if classifyError(err, c.address).outcome == unreachable {
		c.breaker.unconnected()
		c.suspect()
	}
}

// retire ends what the connection holds, because its credentials are out of
// date or its cluster is gone: streams now, everything else when the requests
// under way are done.
func (c *connection) retire() {
	c.streams.close()
	c.closeIdle()
}

// watchedConn notices that the peer, or the network, ended a connection. A
// process that is killed closes its connections, so that this is the earliest
// sign of its death, seconds before the next probe is due.
type watchedConn struct {
	net.Conn
	opened time.Time
	lost   func()
	told   atomic.Bool
}

// Read reads; its first error that is not of our own making is passed on.
func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err) &&
		time.Since(w.opened) >= settledAge && w.told.CompareAndSwap(false, true) {
		w.lost()
	}
	return n, err
}
