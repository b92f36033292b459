// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

func TestIdleWaitsForAnswersToBeReadOrClosed(t *testing.T) {
	for name, finish := range map[string]func(*testing.T, *http.Response){
		"closed": func(t *testing.T, resp *http.Response) {
			if err := errors.Join(resp.Body.Close(), resp.Body.Close()); err != nil {
				t.Error(err)
			}
		},
		"read": func(t *testing.T, resp *http.Response) {
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "answer" {
				t.Errorf("read %q, %v", body, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t)
				through := g.Wrap(&server{answer: func(*http.Request) (*http.Response, error) { return ok("answer"), nil }})
				var answers []*http.Response
				for range 2 {
					resp, err := through.RoundTrip(newRequest(t, http.MethodPost, configMaps))
					if err != nil {
						t.Fatal(err)
					}
					answers = append(answers, resp)
				}
				g.Close()
				idle := make(chan error, 2)
				for range 2 {
					go func() { idle <- g.Idle(t.Context()) }()
				}
				for _, resp := range answers {
					synctest.Wait()
					if len(idle) > 0 {
						t.Error("idle with an answer that is not finished")
					}
					finish(t, resp)
				}
				for range 2 {
					if err := <-idle; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestIdleEndsWithItsContext(t *testing.T) {
	g := openGate(t)
	resp, err := g.Wrap(&server{}).RoundTrip(newRequest(t, http.MethodPost, configMaps))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Idle(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 writes are still in flight") {
		t.Errorf("error %v, want the context's, with how many", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Idle(ctx); err != nil {
		t.Errorf("idle: %v", err)
	}
}

func TestReadsAreNotWaitedFor(t *testing.T) {
	g := openGate(t)
	if _, err := g.Wrap(&server{}).RoundTrip(newRequest(t, http.MethodGet, configMaps+"?watch=true")); err != nil {
		t.Fatal(err)
	}
	if err := g.Idle(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFailedAndEmptyAnswersLeaveTheGateIdle(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"an error": func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") },
		"no body":  func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: http.StatusOK}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := openGate(t)
			if _, err := g.Wrap(&server{answer: answer}).RoundTrip(newRequest(t, http.MethodPost, configMaps)); errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			if err := g.Idle(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnUpgradedConnectionIsInFlightUntilItIsClosed: reading it to its end does not keep anybody from
// writing to it.
func TestAnUpgradedConnectionIsInFlightUntilItIsClosed(t *testing.T) {
	g := openGate(t)
	near, far := net.Pipe()
	switching := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: near}, nil
	}
	resp, err := g.Wrap(&server{answer: switching}).RoundTrip(newRequest(t, http.MethodPost, "/api/v1/namespaces/ns/pods/p/exec"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := resp.Body.(io.Writer); !ok {
		t.Fatal("the connection cannot be written to any more")
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Idle(ended); err == nil {
		t.Error("idle with an open connection")
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Idle(t.Context()); err != nil {
		t.Error(err)
	}
}
