// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"

	"github.com/muster-project/muster/test/fleet"
)

// fakeClustersCommand is the subcommand that serves managed clusters.
const fakeClustersCommand = "fake-clusters"

// endpoint is what the subcommand says of itself, in a line of JSON.
type endpoint struct {
	Address string `json:"address"`
	CA      []byte `json:"ca"`
}

// serveFakeClusters serves as many managed clusters as are asked for, as far as
// Muster probes them and deploys ConfigMaps to them, until stdin ends. Which one is meant is in the token.
func serveFakeClusters(stdin io.Reader, stdout io.Writer) error {
	authority, err := fleet.NewAuthority("fake clusters")
	if err != nil {
		return err
	}
	pair, err := authority.Issue(fleet.Certificate{CommonName: "fake", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("reading a certificate: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for probes: %w", err)
	}
	if err := json.NewEncoder(stdout).Encode(endpoint{listener.Addr().String(), authority.PEM()}); err != nil {
		return fmt.Errorf("telling the address: %w", err)
	}
	server := &http.Server{
		Handler:   newFakeAPI(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	_, err = io.Copy(io.Discard, stdin)
	err = errors.Join(err, server.Close())
	if serving := <-ended; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}

// fakeCluster answers who a cluster is and what it serves.
func fakeCluster(w http.ResponseWriter, request *http.Request, cluster string) {
	switch request.URL.Path {
	case "/version":
		answer(w, map[string]any{"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
	case "/api":
		answer(w, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case "/apis":
		answer(w, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{}})
	case "/api/v1":
		answer(w, map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{map[string]any{
			"name": "configmaps", "singularName": "configmap", "namespaced": true, "kind": "ConfigMap", "verbs": []string{"get", "patch", "delete"},
		}}})
	case "/api/v1/namespaces/kube-system":
		answer(w, map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "kube-system", "uid": "uid-of-" + cluster}})
	default:
		http.NotFound(w, request)
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

// fakeClusters is the process that serves them: their end of the connections
// must not count as Muster's.
type fakeClusters struct {
	endpoint
	process *exec.Cmd
	stdin   io.Closer
}

func startFakeClusters(ctx context.Context) (*fakeClusters, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	f := &fakeClusters{process: exec.CommandContext(ctx, program, fakeClustersCommand)}
	f.process.Stderr = os.Stderr
	stdin, err1 := f.process.StdinPipe()
	stdout, err2 := f.process.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("connecting to the fake clusters: %w", err)
	}
	f.stdin = stdin
	if err := f.process.Start(); err != nil {
		return nil, fmt.Errorf("starting the fake clusters: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &f.endpoint)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the address of the fake clusters: %w", err), f.stop())
	}
	return f, nil
}

func (f *fakeClusters) stop() error {
	if err := errors.Join(f.stdin.Close(), f.process.Wait()); err != nil {
		return fmt.Errorf("ending the fake clusters: %w", err)
	}
	return nil
}

// kubeconfig leads to one of the clusters.
func (f *fakeClusters) kubeconfig(cluster string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: fake
clusters: [{name: fake, cluster: {server: "https://%s", certificate-authority-data: %s}}]
users: [{name: fake, user: {token: %s}}]
contexts: [{name: fake, context: {cluster: fake, user: fake}}]
`, f.Address, base64.StdEncoding.EncodeToString(f.CA), cluster)
}
