// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
)

// asNobody makes a process run without root's rights.
func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// TestForeignDirectory starts a server in another user's directory, which takes another user if this
// is root, whom file modes do not bind.
func TestForeignDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		if _, err := etcd.Start(t.Context(), etcd.Config{DataDir: "/"}); err == nil ||
			!strings.Contains(err.Error(), "data directory / has mode 0755 and cannot be made private") {
			t.Errorf("error %v, want one about the directory's mode", err)
		}
		return
	}
	// A copy of this program that others can reach, beside a directory that is root's.
	shared, err := os.MkdirTemp("", "foreign-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	program, dir := filepath.Join(shared, "test"), filepath.Join(shared, "data")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(shared, 0o755), os.WriteFile(program, self, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestStartInGivenDirectory$")
	cmd.Env = append(os.Environ(), "GIVEN_DATA_DIR="+dir)
	cmd.SysProcAttr = asNobody()
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if want := "data directory " + dir + " has mode 0755 and cannot be made private"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v\n%s\nwant %q", err, out, want)
	}
}

// TestStartInGivenDirectory is the other process of TestForeignDirectory; alone it starts in a
// directory of its own.
func TestStartInGivenDirectory(t *testing.T) {
	dir := os.Getenv("GIVEN_DATA_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	etcdtest.StartIn(t, dir)
}

func TestServerListensOnNothingButItsSocket(t *testing.T) {
	server, client := etcdtest.Start(t)
	if _, err := client.Get(t.Context(), "/k"); err != nil {
		t.Fatal(err)
	}
	inodes := ownSockets(t)
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		for _, fields := range procNet(t, table) {
			// TCP 0A is LISTEN, UDP 07 is a socket that receives.
			if state := fields[3]; inodes[fields[9]] && (state == "0A" || state == "07") {
				t.Errorf("%s socket at %s", table, fields[1])
			}
		}
	}
	var listening []string
	for _, fields := range procNet(t, "unix") {
		// Flags 00010000 are __SO_ACCEPTCON.
		if inodes[fields[6]] && fields[3] == "00010000" && len(fields) > 7 {
			listening = append(listening, fields[7])
		}
	}
	if want := strings.TrimPrefix(server.Endpoint(), "unix://"); len(listening) != 1 || listening[0] != want {
		t.Errorf("listens on %q, want %q alone", listening, want)
	}
}

// ownSockets is the set of the inodes of this process's sockets.
func ownSockets(t *testing.T) map[string]bool {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]bool{}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // closed since
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes
}

// procNet reads one of the kernel's tables of sockets, without its header.
func procNet(t *testing.T, table string) [][]string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/net/" + table)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}
