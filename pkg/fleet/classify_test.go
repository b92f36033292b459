// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestClassifyError(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Get", URL: "https://c.test/readyz", Err: &net.OpError{
			Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 6443}, Err: os.NewSyscallError("connect", err)}}
	}
	verification := func(err error) error {
		return fmt.Errorf("TLS handshake: %w", &tls.CertificateVerificationError{Err: err})
	}
	alert := func(text string) error { return &net.OpError{Op: "remote error", Err: errors.New("tls: " + text)} }
	for name, test := range map[string]struct {
		err  error
		want outcome
		says string
	}{
		"no error":            {nil, healthy, ""},
		"refused":             {dial(syscall.ECONNREFUSED), unreachable, "cannot connect to c.test:443: connection refused"},
		"no route to host":    {dial(syscall.EHOSTUNREACH), unreachable, "cannot connect to c.test:443: no route"},
		"no route to network": {dial(syscall.ENETUNREACH), unreachable, "cannot connect to c.test:443: no route"},
		"other dial error":    {dial(syscall.EACCES), unreachable, "cannot connect to c.test:443"},
		"unknown host": {&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, unreachable,
			"cannot connect to c.test:443: no such host"},
		"name server down": {&net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}}, unreachable,
			"cannot connect to c.test:443: the host name cannot be resolved"},
		"deadline":           {context.DeadlineExceeded, unreachable, "no answer from c.test:443 in time"},
		"connection timeout": {dial(syscall.ETIMEDOUT), unreachable, "no answer from c.test:443 in time"},
		"reset": {&net.OpError{Op: "read", Source: &net.TCPAddr{Port: 41234}, Err: syscall.ECONNRESET}, unreachable,
			"the connection to c.test:443 broke"},
		"end during handshake": {fmt.Errorf("TLS handshake: %w", io.EOF), unreachable, "the connection to c.test:443 broke"},
		"HTTP/2 ping lost":     {errors.New("http2: client connection lost"), unreachable, "the connection to c.test:443 broke"},
		"no TLS": {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, unreachable,
			"the request to c.test:443 failed"},
		"canceled":         {context.Canceled, unknown, "canceled"},
		"no descriptors":   {dial(syscall.EMFILE), unknown, "local resources are exhausted"},
		"no ports":         {dial(syscall.EADDRNOTAVAIL), unknown, "local resources are exhausted"},
		"out of memory":    {dial(syscall.ENOMEM), unknown, "local resources are exhausted"},
		"unknown CA":       {verification(x509.UnknownAuthorityError{}), refused, "the server's certificate is not signed by the kubeconfig's certificate authority"},
		"other host name":  {verification(x509.HostnameError{Certificate: &x509.Certificate{}}), refused, "the server's certificate is not valid for the kubeconfig's server name"},
		"expired":          {verification(x509.CertificateInvalidError{Reason: x509.Expired, Detail: time.Now().String()}), refused, "the server's certificate is expired or not yet valid"},
		"not to serve":     {verification(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}), refused, "the server's certificate cannot be verified"},
		"client expired":   {alert("expired certificate"), refused, "the server refuses the kubeconfig's client certificate"},
		"client required":  {alert("certificate required"), refused, "the server refuses the kubeconfig's client certificate"},
		"client CA":        {alert("unknown certificate authority"), refused, "the server refuses the kubeconfig's client certificate"},
		"server's trouble": {alert("internal error"), unreachable, "the request to c.test:443 failed"},
		"redirect":         {errRedirected, refused, "c.test:443 answers with a redirect: the kubeconfig's server is no API server"},
	} {
		t.Run(name, func(t *testing.T) {
			got := classifyError(test.err, "c.test:443")
			if got.outcome != test.want || got.message != test.says {
				t.Errorf("got %d %q\nwant %d %q", got.outcome, got.message, test.want, test.says)
			}
		})
	}
}

func TestClassifyStatus(t *testing.T) {
	for status, want := range map[int]outcome{
		200: healthy, 201: refused, 204: refused, 302: refused, 400: refused, 401: refused, 403: refused, 404: refused,
		429: throttled, 500: unwell, 502: unwell, 503: unwell, 504: unwell, 599: unwell,
	} {
		got := classifyStatus(status, "/readyz")
		if got.outcome != want || (got.message == "") != (want == healthy) {
			t.Errorf("%d: got %d %q, want %d", status, got.outcome, got.message, want)
		}
	}
}

func TestFailedChecks(t *testing.T) {
	for body, want := range map[string]string{
		"":   "",
		"ok": "",
		"[+]ping ok\n[-]etcd failed: reason withheld\n[-]informer-sync failed: x\n": ": etcd, informer-sync",
		"[-]poststarthook/rbac failed":                                              ": poststarthook/rbac",
		"[-]<script>alert(1)</script> failed":                                       "",
	} {
		if got := failedChecks([]byte(body)); got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}
