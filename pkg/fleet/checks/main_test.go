// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package checks

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

// apiServer answers with what it is told to, by path, and notes what it is asked.
type apiServer struct {
	mu      sync.Mutex
	answers map[string]string
	status  map[string]int
	asked   []string
}

func (a *apiServer) set(path, answer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[path] = answer
}

func (a *apiServer) fail(path string, status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status[path] = status
}

func (a *apiServer) requests(prefix string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var matching []string
	for _, request := range a.asked {
		if strings.HasPrefix(request, prefix) {
			matching = append(matching, request)
		}
	}
	return matching
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, req.URL.RequestURI())
	answer, found := a.answers[req.URL.Path]
	if page, paged := a.answers[req.URL.Path+"#"+req.URL.Query().Get("continue")]; paged {
		answer, found = page, true
	}
	status := a.status[req.URL.Path]
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case status != 0:
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"told to","code":%d}`, status)
	case !found:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	default:
		fmt.Fprint(w, answer)
	}
}

// credentials are of one server.
type credentials []byte

func (c credentials) Kubeconfig(context.Context, fleet.Ref) ([]byte, string, error) {
	return c, "1", nil
}

// startCluster starts a server that has ConfigMaps, Secrets and Nodes, and returns a client
// of it.
func startCluster(t *testing.T) (*apiServer, *fleet.Client) {
	t.Helper()
	api := &apiServer{status: map[string]int{}, answers: map[string]string{
		"/api/v1": `{"kind":"APIResourceList","resources":[
			{"name":"configmaps","kind":"ConfigMap","namespaced":true},{"name":"secrets","kind":"Secret","namespaced":true},
			{"name":"nodes/status","kind":"Node"},{"name":"nodes","kind":"Node","namespaced":false}]}`,
		"/api/v1/nodes":      `{"kind":"NodeList","apiVersion":"v1","items":[]}`,
		"/api/v1/secrets":    `{"kind":"SecretList","apiVersion":"v1","items":[]}`,
		"/api/v1/configmaps": `{"kind":"ConfigMapList","apiVersion":"v1","items":[]}`,
	}}
	server := httptest.NewTLSServer(api)
	t.Cleanup(server.Close)
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
