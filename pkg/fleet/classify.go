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
	"net/http"
	"os"
	"strings"
	"syscall"
)

// outcome is what one look at a cluster proves.
type outcome int

const (
	// unknown proves nothing: we were asked to stop, ran out of a local
	// resource, could not read the Secret.
	unknown outcome = iota
	// throttled: the API server answers that it has too much to do, which is
	// about our place in its queues.
	throttled
	// healthy: the API server says that it is ready.
	healthy
	// unreachable: no connection, or no answer in time.
	unreachable
	// unwell: the API server answers with a 5xx, or one of the cluster's own checks
	// fails.
	unwell
	// undecided: the API server is healthy, and what the cluster's own checks say could
	// not be found out.
	undecided
	// refused: something answers, and what it says is about our credentials,
	// not about its health.
	refused
)

// finding is an outcome with the words for it. Messages are stable: equal
// causes give equal messages, without ports of ours, times or counters, since
// every change of a message is a write of a status.
type finding struct {
	outcome outcome
	message string
}

// classifyError judges the error of a request to the cluster at address
// (host:port). Whether a deadline is the cluster's fault only the caller can
// know, who set it; here a deadline counts as unreachable.
func classifyError(err error, address string) finding {
	var (
		dns *net.DNSError
		op  *net.OpError
	)
	switch {
	case err == nil:
		return finding{outcome: healthy}
	case localFault(err):
		return finding{unknown, "local resources are exhausted"}
	case errors.Is(err, errRedirected), errors.Is(err, errForeignHost):
		return finding{refused, address + " answers with a redirect: the kubeconfig's server is no API server"}
	}
	if message, ok := identityFault(err); ok {
		return finding{refused, message}
	}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return finding{unreachable, fmt.Sprintf("cannot connect to %s: no such host", address)}
	case errors.As(err, &dns):
		return finding{unreachable, fmt.Sprintf("cannot connect to %s: the host name cannot be resolved", address)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return finding{unreachable, fmt.Sprintf("cannot connect to %s: connection refused", address)}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return finding{unreachable, fmt.Sprintf("cannot connect to %s: no route", address)}
	case errors.Is(err, context.Canceled):
		return finding{unknown, "canceled"}
	case isTimeout(err):
		return finding{unreachable, fmt.Sprintf("no answer from %s in time", address)}
	case errors.As(err, &op) && op.Op == "dial":
		return finding{unreachable, fmt.Sprintf("cannot connect to %s", address)}
	case brokenConnection(err):
		return finding{unreachable, fmt.Sprintf("the connection to %s broke", address)}
	}
	return finding{unreachable, fmt.Sprintf("the request to %s failed", address)}
}

// localFault reports whether an error is this machine's doing: a process
// without file descriptors or ports must not see its whole fleet die.
func localFault(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// identityFault recognises that the two ends of the TLS connection don't
// accept each other.
func identityFault(err error) (string, bool) {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "the server's certificate is not signed by the kubeconfig's certificate authority", true
	case errors.As(err, &hostname):
		return "the server's certificate is not valid for the kubeconfig's server name", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is expired or not yet valid", true
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "the server's certificate cannot be verified", true
	}
	// An alert sent by the peer has no exported type. Those named here are
	// about certificates; others, an internal error for example, are not.
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		for _, alert := range []string{"certificate", "unknown certificate authority", "access denied"} {
			if strings.Contains(op.Err.Error(), alert) {
				return "the server refuses the kubeconfig's client certificate", true
			}
		}
	}
	return "", false
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

func brokenConnection(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "http2: client connection")
}

// classifyStatus judges the status of an answer to a probe of path.
func classifyStatus(status int, path string) finding {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	switch {
	case status == http.StatusOK:
		return finding{outcome: healthy}
	case status >= 500:
		return finding{unwell, fmt.Sprintf("%s answers %s", path, text)}
	case status == http.StatusTooManyRequests:
		return finding{throttled, fmt.Sprintf("%s answers %s", path, text)}
	case status == http.StatusUnauthorized:
		return finding{refused, fmt.Sprintf("%s answers %s: renew the credentials in the kubeconfig", path, text)}
	case status == http.StatusForbidden:
		return finding{refused, fmt.Sprintf("%s answers %s: the kubeconfig's user may not read it", path, text)}
	}
	return finding{refused, fmt.Sprintf("%s answers %s: the kubeconfig's server is no API server", path, text)}
}
