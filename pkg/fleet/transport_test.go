// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// newClients returns a factory over a wire, with the credentials of a.
func newClients(t *testing.T, w *wire, options Options) (*Clusters, *source) {
	t.Helper()
	s := &source{}
	s.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM))
	options.Credentials = s
	if options.newTransport == nil {
		options.Dial = w.dial
	}
	c := NewClusters(options)
	t.Cleanup(func() {
		c.Forget(ref("a"))
		time.Sleep(10 * time.Minute) // virtual: what is idle ends
	})
	return c, s
}

func clientOf(t *testing.T, c *Clusters, as Identity) *Client {
	t.Helper()
	client, err := c.Client(t.Context(), ref("a"), as)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// send sends a request through the client and reads the answer.
func send(ctx context.Context, client *Client, method, path string, header http.Header) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://a.test"+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header = header
	if header == nil {
		req.Header = http.Header{}
	}
	resp, err := client.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

func TestRequestsCarryTheIdentityAndNothingElse(t *testing.T) {
	tenant := Identity{ServiceAccountNamespace: "team", ServiceAccountName: "deployer"}
	smuggled := http.Header{
		"Authorization":               {"Bearer mine"},
		"User-Agent":                  {"Helm/3"},
		"Impersonate-User":            {"system:admin"},
		"Impersonate-Group":           {"system:masters"},
		"impersonate-extra-scopes":    {"x"},
		"Impersonate-Uid":             {"0"},
		"X-Kept":                      {"yes"},
		"Impersonate-Extra-Anything":  {"x"},
		http.CanonicalHeaderKey("te"): {"trailers"},
	}
	for name, test := range map[string]struct {
		as     Identity
		header http.Header
		user   string // impersonated
	}{
		"Muster":                         {},
		"Muster, smuggling":              {header: smuggled},
		"a tenant":                       {as: tenant, user: "system:serviceaccount:team:deployer"},
		"a tenant, smuggling":            {as: tenant, header: smuggled, user: "system:serviceaccount:team:deployer"},
		"a tenant of an empty namespace": {as: Identity{ServiceAccountName: "x"}, user: "system:serviceaccount::x"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := newWire(t)
				h := wire.host("a.test")
				epoch := "muster replica-1 epoch=7"
				clusters, _ := newClients(t, wire, Options{UserAgent: func() string { return epoch }})
				client := clientOf(t, clusters, test.as)
				epoch = "muster replica-1 epoch=8"
				before := test.header.Clone()
				if _, err := send(t.Context(), client, http.MethodGet, "/version", test.header); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, test.header); diff != "" {
					t.Errorf("the caller's request was changed:\n%s", diff)
				}
				got := h.api.seen("/version")[0]
				if got.ProtoMajor != 2 {
					t.Errorf("spoken: %s", got.Proto)
				}
				want := map[string][]string{
					"Authorization": {"Bearer " + canaryToken},
					"User-Agent":    {"muster replica-1 epoch=8"},
				}
				if test.user != "" {
					want["Impersonate-User"] = []string{test.user}
				}
				sent := map[string][]string{}
				for name, values := range got.Header {
					if name == "Authorization" || name == "User-Agent" || strings.HasPrefix(strings.ToLower(name), "impersonate") {
						sent[name] = values
					}
				}
				if diff := cmp.Diff(want, sent); diff != "" {
					t.Errorf("headers (-want +got):\n%s", diff)
				}
				if test.header != nil && got.Header.Get("X-Kept") != "yes" {
					t.Error("other headers are lost")
				}
			})
		})
	}
}

func TestNothingGoesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		a, b := wire.host("a.test"), wire.host("b.test")
		a.api.change(func(api *api) {
			api.extra = http.RedirectHandler("https://b.test/steal", http.StatusTemporaryRedirect)
		})
		clusters, _ := newClients(t, wire, Options{})
		client := clientOf(t, clusters, Identity{})
		if _, err := send(t.Context(), client, http.MethodGet, "/elsewhere", nil); !errors.Is(err, errRedirected) {
			t.Errorf("a redirect gave %v", err)
		}
		// Other clients made from Config follow redirects by default.
		other, err := rest.HTTPClientFor(client.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{"https://a.test/elsewhere", "https://b.test/version", "http://a.test/version"} {
			resp, err := other.Get(target)
			if err == nil {
				_ = resp.Body.Close()
				t.Errorf("%s answered %s", target, resp.Status)
			}
		}
		if got := b.api.seen(""); len(got) != 0 {
			t.Errorf("another host was asked for %s", got[0].URL)
		}
	})
}

// Nothing that a caller can see or log has the credentials in it.
func TestConfigHasNoCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		wire.host("a.test")
		clusters, _ := newClients(t, wire, Options{})
		config := clientOf(t, clusters, Identity{}).Config
		if config.BearerToken+config.Username+config.Password+config.BearerTokenFile != "" || len(config.KeyData)+len(config.CertData) != 0 {
			t.Errorf("the config has credentials: %v", config)
		}
		// And yet it is enough for a client of somebody else's making.
		config = rest.CopyConfig(config)
		config.UserAgent, config.Timeout = "Helm/3", time.Minute
		other, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := other.Get("https://a.test/version")
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s, %v", resp.Status, err)
		}
	})
}

// stalled answers nothing but probes until released.
type stalled struct {
	started  atomic.Int32
	released chan struct{}
}

func (s *stalled) transport(*connection) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		s.started.Add(1)
		if req.Context().Value(probeKey{}) == nil && !longRunning(req) {
			select {
			case <-s.released:
			case <-req.Context().Done():
				return nil, context.Cause(req.Context())
			}
		}
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("ok")), Request: req}, nil
	})
}

func TestRequestsInFlightAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stalled{released: make(chan struct{})}
		clusters, _ := newClients(t, nil, Options{newTransport: s.transport})
		muster, tenant := clientOf(t, clusters, Identity{}), clientOf(t, clusters, Identity{"team", "deployer"})
		const requests = 3 * DefaultInFlight
		results := make(chan error, requests)
		for i := range requests {
			client := muster
			if i%2 == 0 {
				client = tenant
			}
			go func() { _, err := send(t.Context(), client, http.MethodPost, "/x", nil); results <- err }()
		}
		synctest.Wait()
		if got := s.started.Load(); got != DefaultInFlight {
			t.Errorf("%d requests in flight, want %d of all identities together", got, DefaultInFlight)
		}

		// Neither streams nor probes wait for a slot.
		for _, path := range []string{"/api/v1/pods?watch=true", "/api/v1/pods?watch=1", "/log?follow=true"} {
			if _, err := send(t.Context(), muster, http.MethodGet, path, nil); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if _, err := muster.connection.serverVersion(withProbe(t.Context())); err != nil && !answered(err) {
			t.Errorf("probe: %v", err)
		}
		// Who waits for one may give up.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := send(ctx, muster, http.MethodGet, "/x", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("giving up gave %v", err)
		}
		close(s.released)
		for range requests {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestASlotIsHeldUntilTheAnswerIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clusters, _ := newClients(t, nil, Options{InFlight: 1, newTransport: (&fakeNet{}).transport})
		client := clientOf(t, clusters, Identity{})
		resp, err := client.HTTP.Get("https://a.test/x")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { _, err := send(t.Context(), client, http.MethodGet, "/x", nil); done <- err }()
		synctest.Wait()
		select {
		case <-done:
			t.Error("a second request passed while the first one's answer was unread")
		default:
		}
		// Twice, which must free one slot only.
		if err := errors.Join(resp.Body.Close(), resp.Body.Close()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := len(client.connection.slots); n != 0 {
			t.Errorf("%d slots are still held", n)
		}
	})
}

func TestARequestThatHangsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stalled{released: make(chan struct{})}
		clusters, _ := newClients(t, nil, Options{newTransport: s.transport})
		start := time.Now()
		_, err := send(t.Context(), clientOf(t, clusters, Identity{}), http.MethodPost, "/x", nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != requestTimeout {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

var errGate = errors.New("gate closed")

// The gate is the last thing before the network: what waits for a slot while
// it closes must not be sent.
func TestTheGateComesAfterEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stalled{released: make(chan struct{})}
		var closed atomic.Bool
		gate := func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				if closed.Load() {
					return nil, errGate
				}
				return next.RoundTrip(req)
			})
		}
		clusters, _ := newClients(t, nil, Options{InFlight: 1, Wrap: gate, newTransport: s.transport})
		client := clientOf(t, clusters, Identity{})
		first, second := make(chan error), make(chan error)
		go func() { _, err := send(t.Context(), client, http.MethodPost, "/1", nil); first <- err }()
		synctest.Wait()
		go func() { _, err := send(t.Context(), client, http.MethodPost, "/2", nil); second <- err }()
		synctest.Wait()
		closed.Store(true)
		close(s.released)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := <-second; !errors.Is(err, errGate) {
			t.Errorf("the request that waited gave %v", err)
		}
		// A closed gate says nothing about the cluster.
		if client.connection.breaker.rejects() {
			t.Error("the breaker opened")
		}
	})
}

func TestLongRunning(t *testing.T) {
	for target, want := range map[string]bool{
		"GET /api/v1/pods":                                false,
		"GET /api/v1/pods?watch=true":                     true,
		"GET /api/v1/pods?limit=5&watch=1":                true,
		"GET /api/v1/pods?watch=false":                    false,
		"GET /api/v1/pods?watch=maybe":                    false,
		"GET /api/v1/namespaces/a/pods/b/log?follow=true": true,
		"POST /api/v1/pods?watch=true":                    false,
		"GET /api/v1/pods?fieldSelector=watch%3Dtrue":     false,
	} {
		method, path, _ := strings.Cut(target, " ")
		parsed, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := longRunning(&http.Request{Method: method, URL: parsed}); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
	if !longRunning(&http.Request{Method: http.MethodPost, URL: &url.URL{}, Header: http.Header{"Upgrade": {"SPDY/3.1"}}}) {
		t.Error("an upgrade is a stream")
	}
}

// An upgraded connection is written to, too.
func TestUpgradedStreamsCanBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written bytes.Buffer
		upgrade := func(*connection) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusSwitchingProtocols, Request: req, Body: struct {
					io.ReadCloser
					io.Writer
				}{io.NopCloser(strings.NewReader("")), &written}}, nil
			})
		}
		clusters, _ := newClients(t, nil, Options{newTransport: upgrade})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://a.test/portforward", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Upgrade", "SPDY/3.1")
		resp, err := clientOf(t, clusters, Identity{}).HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		w, ok := resp.Body.(io.Writer)
		if !ok {
			t.Fatal("the body cannot be written to")
		}
		if _, err := io.WriteString(w, "hello"); err != nil || written.String() != "hello" {
			t.Errorf("wrote %q: %v", written.String(), err)
		}
		_ = resp.Body.Close()
	})
}
