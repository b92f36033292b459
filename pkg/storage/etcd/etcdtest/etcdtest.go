// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcdtest starts real etcd servers for tests, inside the test's process.
package etcdtest

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// Start starts a server with a data directory of its own and returns it with a client. Both end with
// the test. Nothing is synced to disk.
func Start(t testing.TB) (*etcd.Server, *clientv3.Client) {
	t.Helper()
	server := StartIn(t, t.TempDir())
	return server, NewClient(t, server)
}

// StartIn starts a server on a data directory, which may have been another's before. It ends with the
// test, or earlier by its Close.
func StartIn(t testing.TB, dataDir string) *etcd.Server {
	t.Helper()
	server, err := etcd.Start(t.Context(), etcd.Config{DataDir: dataDir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(server.Close)
	return server
}

// NewClient returns a client that is closed when the test ends.
func NewClient(t testing.TB, server *etcd.Server) *clientv3.Client {
	t.Helper()
	client, err := etcd.NewClient(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		t.Fatalf("client for etcd: %v", err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close the client for etcd: %v", err)
		}
	})
	return client
}
