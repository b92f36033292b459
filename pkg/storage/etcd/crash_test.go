// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
)

// TestACrashLosesNothing kills a process with an embedded etcd while it writes. What was acknowledged is
// there when the next one starts, though the database file was not committed since.
func TestACrashLosesNothing(t *testing.T) {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestWriteUntilKilled$")
	cmd.Env = append(os.Environ(), "CRASH_DATA_DIR="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := -1
	for lines := bufio.NewScanner(stdout); acknowledged < 300 && lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &acknowledged); err != nil {
			t.Logf("other process: %s", lines.Text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its error is that it was killed
	if acknowledged < 300 {
		t.Fatalf("the other process ended after %d writes", acknowledged+1)
	}

	client := etcdtest.NewClient(t, etcdtest.StartIn(t, dir))
	resp, err := client.Get(t.Context(), "/k/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) < acknowledged+1 {
		t.Errorf("%d writes survived the crash, %d were acknowledged", len(resp.Kvs), acknowledged+1)
	}
}

// TestWriteUntilKilled is the other process of TestACrashLosesNothing; alone it writes a little.
func TestWriteUntilKilled(t *testing.T) {
	dir, writes := os.Getenv("CRASH_DATA_DIR"), 1_000_000
	if dir == "" {
		dir, writes = t.TempDir(), 10
	}
	client := etcdtest.NewClient(t, etcdtest.StartIn(t, dir))
	for i := range writes {
		if _, err := client.Put(t.Context(), fmt.Sprintf("/k/%07d", i), "v"); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("acknowledged %d\n", i)
	}
}
