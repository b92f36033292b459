// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Wrap returns a transport that passes requests on to next as the gate allows. As a method value
// it is what rest.Config's Wrap takes.
//
// Reads pass always. Writes fail with ErrClosed while the gate is closed, but for those that
// change nothing (dryRun=All, access and token reviews) and those to the lease itself.
func (g *Gate) Wrap(next http.RoundTripper) http.RoundTripper {
	return &transport{gate: g, next: next}
}

type transport struct {
	gate *Gate
	next http.RoundTripper
}

// WrappedRoundTripper lets apimachinery find the TLS configuration and the dialer beneath.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if isRead(req) || t.gate.exempt.has(req) {
		return t.next.RoundTrip(req)
	}
	ctx, w, err := t.gate.enter(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper has to, also when it fails
		}
		return nil, err
	}
	leave := sync.OnceFunc(func() { t.gate.leave(w) })
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrExpired) {
			err = fmt.Errorf("%w: %w", ErrExpired, err)
		}
		leave()
		return nil, err
	}
	resp.Body = countedBody(resp, leave)
	return resp, nil
}

// countedBody is resp's body, and calls leave when the write is over.
func countedBody(resp *http.Response, leave func()) io.ReadCloser {
	if resp.Body == nil {
		leave()
		return nil
	}
	if rwc, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		return &upgradedBody{ReadWriteCloser: rwc, leave: leave}
	}
	return &body{ReadCloser: resp.Body, leave: leave}
}

// body is a response's body. The write is over when it is closed or has been read to its end.
type body struct {
	io.ReadCloser
	leave func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.leave()
	}
	return n, err
}

func (b *body) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}

// upgradedBody is a connection. Whoever has read it to its end can still write to it.
type upgradedBody struct {
	io.ReadWriteCloser
	leave func()
}

func (b *upgradedBody) Close() error {
	defer b.leave()
	return b.ReadWriteCloser.Close()
}
