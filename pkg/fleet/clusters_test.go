// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sschema "k8s.io/apimachinery/pkg/runtime/schema"
)

func TestClientsAreKeptUntilForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		clusters, source := newClients(t, wire, Options{})
		muster := clientOf(t, clusters, Identity{})
		tenant := clientOf(t, clusters, Identity{"team", "deployer"})
		if clientOf(t, clusters, Identity{}) != muster || muster == tenant {
			t.Error("clients are not kept by identity")
		}
		for _, client := range []*Client{muster, tenant, muster} {
			if _, err := send(t.Context(), client, http.MethodGet, "/version", nil); err != nil {
				t.Fatal(err)
			}
		}
		if h.dialCount() != 1 || source.readsOf(ref("a")) != 1 {
			t.Errorf("%d connections and %d reads of the credentials, want one each", h.dialCount(), source.readsOf(ref("a")))
		}

		source.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM, "token: rotated"))
		clusters.Forget(ref("a"))
		rotated := clientOf(t, clusters, Identity{})
		if rotated == muster {
			t.Error("the client was kept")
		}
		if _, err := send(t.Context(), rotated, http.MethodGet, "/rotated", nil); err != nil {
			t.Fatal(err)
		}
		if got := h.api.seen("/rotated")[0].Header.Get("Authorization"); got != "Bearer rotated" {
			t.Errorf("sent %q", got)
		}
		// Work under way goes on with what it has.
		if _, err := send(t.Context(), muster, http.MethodGet, "/old", nil); err != nil {
			t.Errorf("the old client: %v", err)
		}
		time.Sleep(idleTimeout + time.Minute)
		h.mu.Lock()
		defer h.mu.Unlock()
		open := 0
		for _, f := range h.flows {
			if _, err := f.farEnd.Write(nil); err == nil {
				open++
			}
		}
		if open > 0 {
			t.Errorf("%d connections are still open", open)
		}
	})
}

func TestForgetEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		h.api.change(func(a *api) { a.extra = streaming(t) })
		clusters, _ := newClients(t, wire, Options{})
		client := clientOf(t, clusters, Identity{})
		resp, err := client.HTTP.Get("https://a.test/pods?watch=true")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { _, err := io.ReadAll(resp.Body); ended <- err }()
		time.Sleep(3 * time.Second)
		start := time.Now()
		clusters.Forget(ref("a"))
		if err := <-ended; err == nil || time.Since(start) > time.Millisecond {
			t.Errorf("the stream ended after %s: %v", time.Since(start), err)
		}
		_ = resp.Body.Close()
		if _, err := client.HTTP.Get("https://a.test/pods?watch=true"); !errors.Is(err, ErrForgotten) {
			t.Errorf("a new stream of the old client gave %v", err)
		}
	})
}

// Credentials that change while they are read must not be used: they may be
// the old ones.
func TestForgetDuringTheReadOfCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		clusters, source := newClients(t, wire, Options{})
		var once sync.Once
		source.onRead = func(context.Context, Ref) {
			once.Do(func() {
				time.Sleep(time.Second)
				source.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM, "token: newer"))
				clusters.Forget(ref("a"))
			})
		}
		connection, err := clusters.connection(t.Context(), ref("a"))
		if err != nil {
			t.Fatal(err)
		}
		if connection.authorization != "Bearer newer" {
			t.Error("the prober has the old credentials")
		}
		if _, err := send(t.Context(), clientOf(t, clusters, Identity{}), http.MethodGet, "/x", nil); err != nil {
			t.Fatal(err)
		}
		if got := h.api.seen("/x")[0].Header.Get("Authorization"); got != "Bearer newer" {
			t.Errorf("sent %q", got)
		}
	})
}

// Between the look for a connection and the making of a client, too.
func TestForgottenEntriesGiveNoClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clusters, _ := newClients(t, newWire(t), Options{})
		e := clusters.entry(ref("a"))
		connection, err := clusters.connect(t.Context(), ref("a"), e)
		if err != nil || connection == nil {
			t.Fatalf("got %v, %v", connection, err)
		}
		clusters.Forget(ref("a"))
		if client, err := e.client(connection, Identity{}, ""); client != nil || err != nil {
			t.Errorf("got %v, %v", client, err)
		}
	})
}

func TestCredentialsAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clusters, source := newClients(t, newWire(t), Options{})
		source.onRead = func(context.Context, Ref) { time.Sleep(time.Minute) }
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := clusters.Client(t.Context(), ref("a"), Identity{}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if _, err := clusters.Client(impatient, ref("a"), Identity{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("giving up after %s gave %v", time.Since(start), err)
		}
		all.Wait()
		if n := source.readsOf(ref("a")); n != 1 {
			t.Errorf("read %d times", n)
		}
	})
}

func TestUnusableCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		wire.host("a.test")
		clusters, source := newClients(t, wire, Options{})
		invalid := func() *CredentialsError {
			_, err := clusters.Client(t.Context(), ref("a"), Identity{})
			return asCredentialsError(err)
		}
		source.set(ref("a"), []byte("nonsense"))
		for range 10 {
			if err := invalid(); err == nil || err.Reason != ReasonUnparsable {
				t.Fatalf("got %v", err)
			}
		}
		if n := source.readsOf(ref("a")); n != 1 {
			t.Errorf("read %d times: what is unusable must not be read again and again", n)
		}
		source.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM))
		if invalid() == nil {
			t.Error("read anew without Forget")
		}
		time.Sleep(credentialsRetry)
		if err := invalid(); err != nil {
			t.Errorf("after a while: %v", err)
		}

		source.set(ref("a"), []byte("nonsense"))
		clusters.Forget(ref("a"))
		if invalid() == nil {
			t.Error("not read anew after Forget")
		}
		source.set(ref("a"), kubeconfig("https://a.test", theAuthority().caPEM))
		clusters.Forget(ref("a"))
		if err := invalid(); err != nil {
			t.Errorf("after Forget: %v", err)
		}

		_, err := clusters.Client(t.Context(), ref("missing"), Identity{})
		if missing := asCredentialsError(err); missing == nil || missing.Reason != ReasonMissing {
			t.Errorf("a missing Secret gave %v", err)
		}
		// A host that can't be asked is asked again, and is no verdict.
		source.fail(errors.New("connection refused"))
		clusters.Forget(ref("a"))
		if _, err := clusters.Client(t.Context(), ref("a"), Identity{}); err == nil || asCredentialsError(err) != nil {
			t.Errorf("an unreachable host gave %v", err)
		}
		source.fail(nil)
		if err := invalid(); err != nil {
			t.Errorf("when the host is back: %v", err)
		}
	})
}

func TestRequestsUseEveryKindOfCredentials(t *testing.T) {
	a := theAuthority()
	for name, test := range map[string]struct {
		user          []string
		authorization string
	}{
		"token":       {nil, "Bearer " + canaryToken},
		"password":    {[]string{"username: me", "password: " + canaryPassword}, "Basic bWU6Y2FuYXJ5LXBhc3N3b3JkLTkxYmQ="},
		"certificate": {[]string{"client-certificate-data: " + b64(a.certPEM), "client-key-data: " + b64(a.keyPEM)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wire := newWire(t)
				h := wire.host("a.test")
				clusters, source := newClients(t, wire, Options{})
				source.set(ref("a"), kubeconfig("https://a.test", a.caPEM, test.user...))
				if _, err := send(t.Context(), clientOf(t, clusters, Identity{}), http.MethodGet, "/version", nil); err != nil {
					t.Fatal(err)
				}
				got := h.api.seen("/version")[0]
				if got.Header.Get("Authorization") != test.authorization {
					t.Errorf("got %q, want %q", got.Header.Get("Authorization"), test.authorization)
				}
				if certificate := test.authorization == ""; certificate != (len(got.TLS.PeerCertificates) == 1) {
					t.Errorf("%d client certificates", len(got.TLS.PeerCertificates))
				}
			})
		})
	}
}

func TestClusterID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		clusters, _ := newClients(t, wire, Options{})
		tenant := clientOf(t, clusters, Identity{"team", "deployer"})
		id, err := tenant.ClusterID(t.Context())
		if err != nil || id != "uid-1" {
			t.Errorf("got %q, %v", id, err)
		}
		if user := h.api.seen("/api/v1/namespaces/kube-system")[0].Header.Get("Impersonate-User"); user != "" {
			t.Errorf("asked as %q: a tenant may not read kube-system", user)
		}
		h.api.change(func(a *api) { a.uid = "" })
		if id, err := tenant.ClusterID(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("where it is forbidden: %q, %v", id, err)
		}
		h.api.change(func(a *api) { a.status = http.StatusOK })
		if id, err := tenant.ClusterID(t.Context()); err == nil {
			t.Errorf("of an answer that is none: %q", id)
		}
	})
}

// discovery answers with one kind, in the old way and the new.
func discoveryHandler(lists *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch req.URL.Path {
		case "/api":
			_, _ = io.WriteString(w, `{"kind":"APIVersions","versions":["v1"]}`)
		case "/apis":
			_, _ = io.WriteString(w, `{"kind":"APIGroupList","groups":[]}`)
		case "/api/v1":
			*lists++
			_, _ = io.WriteString(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[
				{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["get"]}]}`)
		case "/api/v1/namespaces/default/configmaps/x":
			_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`)
		default:
			http.NotFound(w, req)
		}
	})
}

func TestDiscoveryIsSharedAndDroppedWhenUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := newWire(t)
		h := wire.host("a.test")
		lists := 0
		h.api.change(func(a *api) { a.extra = discoveryHandler(&lists) })
		w := startProber(t, wire, Options{})
		w.add("a", Health{})
		time.Sleep(time.Minute)
		use := func(as Identity) {
			t.Helper()
			client := clientOf(t, w.clusters, as)
			mapping, err := client.Mapper.RESTMapping(k8sschema.GroupKind{Kind: "ConfigMap"}, "v1")
			if err != nil {
				t.Fatal(err)
			}
			object, err := client.Dynamic.Resource(mapping.Resource).Namespace("default").Get(t.Context(), "x", metav1.GetOptions{})
			if err != nil || object.GetName() != "x" {
				t.Fatalf("got %v, %v", object, err)
			}
		}
		use(Identity{})
		use(Identity{"team", "deployer"})
		if lists != 1 {
			t.Errorf("discovered %d times, want once for all identities", lists)
		}
		if user := h.api.seen("/api/v1")[0].Header.Get("Impersonate-User"); user != "" {
			t.Errorf("discovered as %q", user)
		}
		time.Sleep(discoveryIdle / 2)
		use(Identity{})
		time.Sleep(discoveryIdle / 2)
		use(Identity{})
		if lists != 1 {
			t.Errorf("discovered %d times while in use", lists)
		}
		time.Sleep(discoveryIdle + 2*inspectEvery)
		use(Identity{})
		if lists != 2 {
			t.Errorf("discovered %d times, want again after it was unused", lists)
		}
	})
}

// What the tests above have in memory also works over TCP, with the HTTP
// versions that servers speak.
func TestClientsOverTCP(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(name, func(t *testing.T) {
			a := newAPI()
			server := httptest.NewUnstartedServer(a)
			server.EnableHTTP2 = http2
			server.TLS = newServerTLS()
			server.StartTLS()
			defer server.Close()
			s := &source{}
			s.set(ref("a"), kubeconfig(server.URL, theAuthority().caPEM))
			clusters := NewClusters(Options{Credentials: s})
			defer clusters.Forget(ref("a"))
			client := clientOf(t, clusters, Identity{})
			for range 20 {
				if id, err := client.ClusterID(t.Context()); err != nil || id != "uid-1" {
					t.Fatalf("got %q, %v", id, err)
				}
			}
			if dials := client.connection.dials.Load(); dials != 1 {
				t.Errorf("%d connections, want one", dials)
			}
			if got := a.seen("")[0].ProtoMajor == 2; got != http2 {
				t.Errorf("spoke %s", a.seen("")[0].Proto)
			}
		})
	}
}
