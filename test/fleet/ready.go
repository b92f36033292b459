// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// pollInterval is short beside a start's seconds and long beside a request on
// loopback.
const pollInterval = 25 * time.Millisecond

// poll calls check until it succeeds. It gives up, with check's last error,
// when ctx is done or stop is closed.
func poll(ctx context.Context, stop <-chan struct{}, check func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		// What a check that the deadline cut off has to say is the deadline.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ticker.C:
		case <-stop:
			return last
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
	}
}

// checkTLS makes a check that wants status 200 from an HTTPS server. Every
// call connects anew: a server that restarts must not be asked through a
// connection to its predecessor.
func checkTLS(url string, config *tls.Config) func(context.Context) error {
	return checkWith(&http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
	}, url)
}

// checkPlain makes a check that wants status 200 from an HTTP server.
func checkPlain(url string) func(context.Context) error {
	return checkWith(&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, url)
}

// checkWith makes a check that wants status 200.
func checkWith(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return errors.New(failedChecks(response.Status, string(body)))
		}
		return nil
	}
}

// failedChecks shortens the answer of /readyz?verbose to what is not ready.
func failedChecks(status, body string) string {
	var failed []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			failed = append(failed, strings.TrimSpace(strings.TrimPrefix(line, "[-]")))
		}
	}
	if len(failed) == 0 {
		return status + ": " + strings.TrimSpace(body)
	}
	return status + ": " + strings.Join(failed, ", ")
}
