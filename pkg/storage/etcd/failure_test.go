// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"strings"
	"testing"
)

func TestDoneTellsOfAServerThatStopsByItself(t *testing.T) {
	server, err := Start(t.Context(), Config{DataDir: t.TempDir(), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.etcd.Server.HardStop()
	if err := <-server.Done(); err == nil {
		t.Error("Done yields no error")
	}
	if _, open := <-server.Done(); open {
		t.Error("Done yields more than one error")
	}
}

func TestAFullDiskIsRefused(t *testing.T) {
	err := CheckSpace(t.TempDir(), 1<<62)
	if err == nil || !strings.Contains(err.Error(), "is on a full disk") {
		t.Errorf("error %v", err)
	}
	if err := CheckSpace(t.TempDir(), 1); err != nil {
		t.Error(err)
	}
}
