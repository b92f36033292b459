// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/muster-project/muster/pkg/fleet/fence"
)

var (
	// ErrForgotten is what a stream ends with when its cluster's credentials
	// change or its registration is deleted: ask for a new Client.
	ErrForgotten = errors.New("the cluster's credentials have changed: a new client is needed")

	errRedirected  = errors.New("the server redirects, which no API server does; the redirect is not followed")
	errForeignHost = errors.New("the request is for another host than the kubeconfig's server")
)

// The layers of a request, outermost first:
//
//	identityTransport  who asks; nothing for or from another host; the fence
//	connection         breaker, requests in flight, streams, signs of trouble
//	the write gate     Options.Wrap: last, so that no wait comes after it
//	http.Transport     the HTTP/2 connection
//
// identityTransport makes requests of one identity. Credentials are added
// here, below everything that a caller can see: neither a rest.Config nor a
// debugging round-tripper around it has them.
type identityTransport struct {
	connection *connection
	as         Identity
	// token is the identity's own. With it nothing of Muster's credentials is sent:
	// neither its token nor, in the TLS handshake, its certificate.
	token string
	// stamp, if set, is asked for every write what it has to say of its sender.
	stamp func(context.Context) (*stamp, error)
}

// RoundTrip sends the request with the credentials, as the identity.
func (t *identityTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	server := t.connection.server
	if req.URL.Scheme != server.Scheme || req.URL.Host != server.Host {
		closeBody(req)
		return nil, errForeignHost
	}
	var stamp *stamp
	if t.stamp != nil && mayChange(req) {
		var err error
		if stamp, err = t.stamp(req.Context()); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	req = utilnet.CloneRequest(req)
	if t.token != "" {
		req = req.WithContext(withoutCertificate(req.Context()))
	}
	t.setHeaders(req.Header, stamp)
	resp, err := t.connection.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		_ = resp.Body.Close()
		return nil, errRedirected
	}
	return resp, nil
}

// setHeaders overrides rather than completes: no library's own idea of who it
// is or whom it impersonates may pass.
func (t *identityTransport) setHeaders(header http.Header, stamp *stamp) {
	for name := range header {
		if strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Impersonate-") {
			delete(header, name)
		}
	}
	header.Del("Authorization")
	if t.token != "" {
		// No stamp: an identity with few rights may not impersonate anybody, and the
		// fence is against those of Muster.
		header.Set("Authorization", "Bearer "+t.token)
		header.Set("User-Agent", t.connection.userAgent())
		return
	}
	if t.connection.authorization != "" {
		header.Set("Authorization", t.connection.authorization)
	}
	switch user := t.as.UserName(); {
	case user != "":
		header.Set("Impersonate-User", user)
	case stamp != nil:
		stamp.user.Impersonate(header)
	}
	if stamp != nil {
		fence.Stamp(header, stamp.epoch)
	}
	header.Set("User-Agent", t.connection.userAgent())
}

// mayChange says whether a request can change anything. One that upgrades the
// connection can, whatever its method: exec over WebSockets is a GET.
func mayChange(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return req.Header.Get("Upgrade") != ""
	}
	return true
}

// probeKey marks the contexts of probes, which pass an open breaker and need
// no slot: a cluster that is busy or unreachable must still be probed.
type probeKey struct{}

func withProbe(ctx context.Context) context.Context {
	return context.WithValue(ctx, probeKey{}, true)
}

// RoundTrip sends the request unless the cluster is known to be unreachable,
// and within the limit of requests in flight.
func (c *connection) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Context().Value(probeKey{}) != nil {
		return c.send(req)
	}
	c.used.Store(time.Now().UnixNano())
	if c.breaker.rejects() {
		return nil, c.reject(req)
	}
	if longRunning(req) {
		return c.openStream(req)
	}
	select {
	case c.slots <- struct{}{}:
	case <-req.Context().Done():
		closeBody(req)
		return nil, context.Cause(req.Context())
	}
	release := func() { <-c.slots }
	// Asked again, since the cluster may have been lost during the wait.
	if !c.breaker.allow() {
		release()
		return nil, c.reject(req)
	}
	if _, limited := req.Context().Deadline(); !limited {
		ctx, cancel := context.WithTimeout(req.Context(), requestTimeout)
		req = req.WithContext(ctx)
		release = func() { cancel(); <-c.slots }
	}
	resp, err := c.send(req)
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = &trackedBody{ReadCloser: resp.Body, done: release}
	return resp, nil
}

// reject fails a request that is not sent.
func (c *connection) reject(req *http.Request) error {
	closeBody(req)
	return fmt.Errorf("%w: %s did not answer; it is probed, and requests pass again when it does", ErrUnreachable, c.ref)
}

// openStream sends a request whose answer lasts: it holds no slot, has no
// deadline, and ends when the connection retires.
func (c *connection) openStream(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	remove, ok := c.streams.add(func() { cancel(ErrForgotten) })
	if !ok {
		cancel(ErrForgotten)
		closeBody(req)
		return nil, ErrForgotten
	}
	done := func() { remove(); cancel(context.Canceled) }
	if !c.breaker.allow() {
		done()
		return nil, c.reject(req)
	}
	resp, err := c.send(req.WithContext(ctx))
	if err != nil {
		done()
		return nil, err
	}
	broke := func() {
		if ctx.Err() == nil {
			c.suspect()
		}
	}
	body := &trackedBody{ReadCloser: resp.Body, broke: broke, done: done}
	if upgraded, ok := resp.Body.(io.Writer); ok {
		resp.Body = upgradedBody{body, upgraded}
		return resp, nil
	}
	resp.Body = body
	return resp, nil
}

// upgradedBody is the body of a 101 Switching Protocols: both directions of
// the connection.
type upgradedBody struct {
	*trackedBody
	io.Writer
}

// send passes the request on and notes what its fate says of the cluster.
func (c *connection) send(req *http.Request) (*http.Response, error) {
	resp, err := c.transportFor(req.Context()).RoundTrip(req)
	if err == nil {
		c.breaker.answered()
		return resp, nil
	}
	// Failed connections were noted when they were dialled. What is left are
	// connections that broke under a request and answers that never came.
	if req.Context().Value(probeKey{}) == nil && (isTimeout(err) || brokenConnection(err)) {
		c.suspect()
	}
	return nil, err
}

// longRunning recognises requests whose answers are streams: watches, followed
// logs, upgraded connections.
func longRunning(req *http.Request) bool {
	if req.Header.Get("Upgrade") != "" {
		return true
	}
	if req.Method != http.MethodGet || req.URL.RawQuery == "" {
		return false
	}
	query := req.URL.Query()
	for _, name := range []string{"watch", "follow"} {
		if on, err := strconv.ParseBool(query.Get(name)); err == nil && on {
			return true
		}
	}
	return false
}

// closeBody does what a RoundTripper owes to a request that it doesn't send.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// trackedBody calls done once when the answer has been read or given up, and
// before that broke if reading failed.
type trackedBody struct {
	io.ReadCloser
	once  sync.Once
	broke func() // may be nil
	done  func()
}

// Read reads from the answer.
func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err != io.EOF)
	}
	return n, err
}

// Close gives up what has not been read.
func (b *trackedBody) Close() error {
	err := b.ReadCloser.Close()
	b.end(false)
	return err
}

func (b *trackedBody) end(failed bool) {
	b.once.Do(func() {
		if failed && b.broke != nil {
			b.broke()
		}
		b.done()
	})
}

// streams are the long-running requests of a connection.
type streams struct {
	mu     sync.Mutex
	closed bool
	next   int
	cancel map[int]func()
}

// add registers a stream; it returns false once the connection has retired.
func (s *streams) add(cancel func()) (remove func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	if s.cancel == nil {
		s.cancel = map[int]func(){}
	}
	id := s.next
	s.next++
	s.cancel[id] = cancel
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.cancel, id)
	}, true
}

// close ends all streams and lets no new one in.
func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, cancel := range s.cancel {
		cancel()
	}
	s.cancel = nil
}
