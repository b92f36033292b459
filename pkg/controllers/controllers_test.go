// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/controllers/term"
)

// starter is a term's controllers as a function.
type starter func(context.Context) error

func (s starter) Start(ctx context.Context) error { return s(ctx) }

// TestTermsShareNoConnections: client-go gives equal configurations one transport, and with it the
// connections of a term that is over.
func TestTermsShareNoConnections(t *testing.T) {
	var connections atomic.Int32
	var agents []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		agents = append(agents, req.UserAgent())
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	config := &rest.Config{Host: srv.URL, TLSClientConfig: rest.TLSClientConfig{CAData: certificate(srv.Certificate())}}

	d := &Dependencies{Gate: term.NewGate(term.GateOptions{}), Replica: "replica"}
	get := func(client *http.Client) error {
		resp, err := client.Get(srv.URL)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	var clients []*http.Client
	done := errors.New("done")
	epoch := int64(0)
	runner := term.NewRunner(term.RunnerOptions{
		Gate:       d.Gate,
		RaiseEpoch: func(context.Context) (int64, error) { epoch++; return epoch, nil },
		NewTerm: func(_ context.Context, current term.Term) (term.Starter, error) {
			client, err := rest.HTTPClientFor(d.gated(config, current))
			if err != nil {
				return nil, err
			}
			clients = append(clients, client)
			return starter(func(context.Context) error { return errors.Join(get(client), get(client), done) }), nil
		},
	})
	for want := int32(1); want <= 2; want++ {
		if err := runner.RunTerm(t.Context()); !errors.Is(err, done) || strings.Contains(err.Error(), "Get") {
			t.Errorf("term %d: %v", want, err)
		}
		if got := connections.Load(); got != want {
			t.Errorf("after term %d there were %d connections", want, got)
		}
		// Its transport may not have noticed yet that the term's connection is closed, and
		// is refused by that one instead of a new one.
		if err := get(clients[want-1]); !errors.Is(err, term.ErrClosed) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("after term %d its client gets %v, want ErrClosed", want, err)
		}
	}
	want := []string{"muster/replica (epoch 1)", "muster/replica (epoch 1)", "muster/replica (epoch 2)", "muster/replica (epoch 2)"}
	if strings.Join(agents, "|") != strings.Join(want, "|") {
		t.Errorf("User-Agents %q, want %q", agents, want)
	}
}

func certificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// TestTheHostIsWatchedWithinReach: the host refuses a watch of all namespaces to
// whom it lets read some, and the term would never begin.
func TestTheHostIsWatchedWithinReach(t *testing.T) {
	paths := make(chan string)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case paths <- req.URL.Path:
			<-req.Context().Done()
		case <-req.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(secret.GroupVersionKind(), meta.RESTScopeNamespace)
	for name, test := range map[string]struct {
		reach reach.Namespaces
		want  []string
	}{
		"all":  {nil, []string{"/api/v1/secrets"}},
		"some": {reach.Namespaces{"a", "b"}, []string{"/api/v1/namespaces/a/secrets", "/api/v1/namespaces/b/secrets"}},
	} {
		t.Run(name, func(t *testing.T) {
			options := (&Dependencies{Reach: test.reach}).hostCache()
			options.Mapper = mapper
			host, err := cache.New(&rest.Config{Host: srv.URL}, options)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- host.Start(ctx) }()
			if _, err := host.GetInformer(ctx, secret, cache.BlockUntilSynced(false)); err != nil {
				t.Fatal(err)
			}
			got := sets.New[string]()
			for got.Len() < len(test.want) {
				got.Insert(<-paths)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(test.want, sets.List(got)); diff != "" {
				t.Errorf("watched (-want +got):\n%s", diff)
			}
		})
	}
}
