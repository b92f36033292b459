// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProberLetsCredentialsMoveNothing(t *testing.T) {
	good := kubeconfig("https://a.test", theAuthority().caPEM)
	for name, test := range map[string]struct {
		spoil func(*host, *source)
		says  string
	}{
		"401": {func(h *host, _ *source) { h.api.change(func(a *api) { a.status = 401 }) }, "401 Unauthorized"},
		"403": {func(h *host, _ *source) { h.api.change(func(a *api) { a.status = 403 }) }, "403 Forbidden"},
		"404": {func(h *host, _ *source) { h.api.change(func(a *api) { a.status = 404 }) }, "no API server"},
		"302": {func(h *host, _ *source) { h.api.change(func(a *api) { a.status = 302 }) }, "redirect"},
		"another CA": {func(_ *host, s *source) { s.set(ref("a"), kubeconfig("https://a.test", makeAuthority("other").caPEM)) },
			"not signed by the kubeconfig's certificate authority"},
		"another name": {func(_ *host, s *source) {
			s.set(ref("a"), []byte(strings.Replace(string(good), "    server:", "    tls-server-name: a.example\n    server:", 1)))
		}, "not valid for"},
		"bad kubeconfig": {func(_ *host, s *source) { s.set(ref("a"), good[:40]) }, "cannot be parsed"},
		"exec":           {func(_ *host, s *source) { s.set(ref("a"), kubeconfig("https://a.test", nil, "exec: {command: id}")) }, "exec"},
		"no Secret": {func(_ *host, s *source) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.data, ref("a"))
		}, "Secret does not exist"},
	} {
		for _, known := range []Health{wasReady, {EverReady: true, Down: true, Failures: 3, Version: "v1.37.0", ID: "uid-1"}, {}} {
			t.Run(fmt.Sprintf("%s, ready %v, down %v", name, known.Ready, known.Down), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wire := newWire(t)
					h := wire.host("a.test")
					w := startProber(t, wire, Options{})
					w.source.set(ref("a"), good)
					test.spoil(h, w.source)
					w.Set(Target{Ref: ref("a"), Health: known})
					time.Sleep(5 * time.Minute)
					synctest.Wait()
					got, _ := w.Health(ref("a"))
					if !got.CredentialsInvalid || !strings.Contains(got.Message, test.says) {
						t.Errorf("got %+v, want invalid credentials, and a message with %q", got, test.says)
					}
					if reports := len(w.reported(ref("a"))); reports != 1 {
						t.Errorf("%d reports, want one: %v", reports, w.reported(ref("a")))
					}
					got.CredentialsInvalid, got.Message = false, ""
					if got != known {
						t.Errorf("credentials moved %+v to %+v", known, got)
					}
				})
			})
		}
	}
}

func TestProberTakesRotatedCredentials(t *testing.T) {
	for name, told := range map[string]bool{"told by Forget": true, "found by itself": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := newWire(t)
				wire.host("a.test")
				w := startProber(t, wire, Options{})
				w.source.set(ref("a"), kubeconfig("https://a.test", makeAuthority("old").caPEM))
				w.Set(Target{Ref: ref("a")})
				time.Sleep(time.Minute)
				start := time.Now()
				w.source.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM))
				limit := recheckEvery + 10*time.Second
				if told {
					w.clusters.Forget(ref("a"))
					w.ProbeNow(ref("a"))
					limit = 300 * time.Millisecond
				}
				w.until(t, ref("a"), start, limit, func(h Health) bool { return h.Ready && h.Credentials == "2" })
			})
		})
	}
}

// The identity is read whenever another cluster may have taken the place.
func TestProberNoticesAnotherCluster(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*host)
		within time.Duration
	}{
		"after a restart": {func(h *host) { h.cut() }, 10 * time.Second},
		"after an illness, behind a proxy": {func(h *host) {
			h.api.change(func(a *api) { a.readyz = 503 })
			time.Sleep(6 * time.Second)
			h.api.change(func(a *api) { a.readyz = 200 })
		}, 16 * time.Second},
		"behind the same connection":    {func(*host) {}, inspectEvery + 6*time.Second},
		"after a time of being refused": {func(h *host) { h.kill(); time.Sleep(30 * time.Second); h.mend() }, 16 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := newWire(t)
				h := wire.host("a.test")
				w := startProber(t, wire, Options{})
				a := w.add("a", Health{})
				time.Sleep(20 * time.Second)
				h.api.change(func(a *api) { a.uid, a.version = "uid-2", "v1.38.0" })
				test.change(h)
				start := time.Now()
				w.until(t, a, start, test.within, func(h Health) bool { return h.ID == "uid-2" && h.Version == "v1.38.0" })
				// It is known no later than that the cluster is ready.
				for _, r := range w.reported(a) {
					if r.at.After(start) && r.health.Ready && !r.health.Down && r.health.ID != "uid-2" && test.within < inspectEvery && r.health.Failures == 0 {
						t.Errorf("ready with the old identity: %+v", r.health)
					}
				}
			})
		})
	}
}

func TestProberReadsIdentityRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		w := startProber(t, wire, Options{})
		w.add("a", Health{})
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(h.api.seen("/readyz")); n < 118 || n > 123 {
			t.Errorf("%d probes in ten minutes, want one each 5 s", n)
		}
		for _, path := range []string{"/version", "/api/v1/namespaces/kube-system"} {
			if n := len(h.api.seen(path)); n < 9 || n > 12 {
				t.Errorf("%s was read %d times in ten minutes, want about one each minute", path, n)
			}
		}
		if h.dialCount() != 1 {
			t.Errorf("%d connections, want one", h.dialCount())
		}
	})
}

func TestProberFallsBackToVersion(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		synctest.Test(t, func(t *testing.T) {
			wire := newWire(t)
			h := wire.host("a.test")
			h.api.change(func(a *api) { a.readyz, a.uid = status, "" })
			w := startProber(t, wire, Options{})
			a := w.add("a", Health{})
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if health, _ := w.Health(a); health != (Health{Ready: true, EverReady: true, Credentials: "1", Version: "v1.37.0"}) {
				t.Errorf("with %d: %+v", status, health)
			}
			// It remembers, and looks again now and then.
			if n := len(h.api.seen("/readyz")); n < 9 || n > 12 {
				t.Errorf("with %d: /readyz was asked %d times in ten minutes", status, n)
			}
		})
	}
}

func TestProberBlamesNoClusterForOurOwnFaults(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		prepare func(*source)
	}{
		"host unreachable": {prepare: func(s *source) { s.fail(errors.New("connection refused")) }},
		"host slow": {prepare: func(s *source) {
			s.onRead = func(ctx context.Context, _ Ref) { <-ctx.Done() }
			s.fail(context.DeadlineExceeded)
		}},
		"throttled": {options: Options{newTransport: (&fakeNet{status: http.StatusTooManyRequests}).transport}, prepare: func(*source) {}},
		"starved":   {options: Options{newTransport: late}, prepare: func(*source) {}},
		"no file descriptors": {options: Options{newTransport: (&fakeNet{err: errTooManyFiles}).transport},
			prepare: func(*source) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startProber(t, newWire(t), test.options)
				test.prepare(w.source)
				a := w.add("a", wasReady)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := w.reported(a); len(got) != 0 {
					t.Errorf("reported %v", got)
				}
			})
		})
	}
}

// late answers a deadline long after it passed, as everything does in a process
// that was stopped.
func late(*connection) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		time.Sleep(3 * time.Second)
		return nil, context.Cause(req.Context())
	})
}
