// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/script"
)

// TestMain turns the test binary into a script worker where a test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "script-worker" {
		if err := script.ServeWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startScripts runs script workers until the test ends.
func startScripts(t *testing.T) *script.Pool {
	t.Helper()
	pool := script.NewPool(script.Options{Command: []string{"/proc/self/exe", "script-worker"}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	<-pool.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return pool
}

// apiServer answers reads with what it is told to, by path, and lets watches see what is
// sent.
type apiServer struct {
	mu      sync.Mutex
	answers map[string]string
	events  chan string
	ended   chan struct{}
}

func (a *apiServer) set(path, answer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[path] = answer
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if req.URL.Query().Get("watch") != "" {
		a.watch(w, req)
		return
	}
	a.mu.Lock()
	answer, found := a.answers[req.URL.Path]
	a.mu.Unlock()
	if !found {
		w.WriteHeader(http.StatusNotFound)
		answer = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
	}
	fmt.Fprint(w, answer)
}

func (a *apiServer) watch(w http.ResponseWriter, req *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-req.Context().Done():
			return
		case <-a.ended:
			return
		case event := <-a.events:
			fmt.Fprintln(w, event)
			w.(http.Flusher).Flush()
		}
	}
}

// credentials are of one server.
type credentials []byte

func (c credentials) Kubeconfig(context.Context, fleet.Ref) ([]byte, string, error) {
	return c, "1", nil
}

// startCluster starts a server that has Deployments and ConfigMaps, and returns a client
// of it.
func startCluster(t *testing.T) (*apiServer, *fleet.Client) {
	t.Helper()
	api := &apiServer{events: make(chan string), ended: make(chan struct{}), answers: map[string]string{
		"/apis/apps/v1":             `{"kind":"APIResourceList","resources":[{"name":"deployments","kind":"Deployment","namespaced":true}]}`,
		"/apis/apps/v1/deployments": `{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"1"},"items":[]}`,
	}}
	server := httptest.NewTLSServer(api)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(api.ended) })
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	clusters := fleet.NewClusters(fleet.Options{Credentials: credentials(fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: it, user: me}}]
clusters: [{name: it, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: me, user: {token: t}}]
`, server.URL, base64.StdEncoding.EncodeToString(ca)))})
	ref := fleet.Ref{Kind: "SveltosCluster", Namespace: "ns", Name: "c"}
	t.Cleanup(func() { clusters.Forget(ref) })
	client, err := clusters.Client(t.Context(), ref, fleet.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	return api, client
}

// deployments is a list of Deployments with so many ready replicas each.
func deployments(ready ...int) string {
	var items []string
	for i, n := range ready {
		items = append(items, fmt.Sprintf(`{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"namespace":"n","name":"web%d"},"status":{"readyReplicas":%d}}`, i, n))
	}
	return `{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"2"},"items":[` + strings.Join(items, ",") + `]}`
}
