// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-project/muster/test/fleet"
)

// program builds the command as make does.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fleet")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func call(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func succeed(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := call(t, program, args...)
	if err != nil {
		t.Fatalf("fleet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// A fleet outlives the command that started it, can be looked at and broken by
// others, and ends with all its processes.
func TestUpAndDown(t *testing.T) {
	fleetCommand := program(t)
	dir := "--dir=" + filepath.Join(t.TempDir(), "fleet")
	t.Cleanup(func() { _, _ = call(t, fleetCommand, "down", dir) })

	up := succeed(t, fleetCommand, "up", dir, "--muster=false", "--managed=cluster1")
	state, err := fleet.ReadState(strings.TrimPrefix(dir, "--dir="))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"etcd is ready after", "export KUBECONFIG=" + state.Kubeconfig, "kill cluster1"} {
		if !strings.Contains(up, want) {
			t.Errorf("up does not print %q:\n%s", want, up)
		}
	}
	if again := succeed(t, fleetCommand, "up", dir); strings.Contains(again, "etcd is ready") || !strings.Contains(again, "export KUBECONFIG=") {
		t.Errorf("a second up does more than say how to reach the fleet:\n%s", again)
	}
	if status := succeed(t, fleetCommand, "status", dir); strings.Contains(status, "ended") || !strings.Contains(status, "cluster1-kube-apiserver") {
		t.Errorf("status of a whole fleet:\n%s", status)
	}
	succeed(t, fleetCommand, "kill", "cluster1", dir)
	if status := succeed(t, fleetCommand, "status", dir); strings.Count(status, "ended") != 1 {
		t.Errorf("status after a kill:\n%s", status)
	}
	if out, err := call(t, fleetCommand, "kill", "cluster7", dir); err == nil || !strings.Contains(out, `no part "cluster7"`) {
		t.Errorf("killing what is not there: %v\n%s", err, out)
	}
	succeed(t, fleetCommand, "down", dir)
	if state.Owner.Alive() {
		t.Error("the fleet's owner is left")
	}
	for _, p := range state.Processes {
		if p.Alive() {
			t.Errorf("%s is left", p.Name)
		}
	}
	if _, err := os.Stat(strings.TrimPrefix(dir, "--dir=")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
	if out := succeed(t, fleetCommand, "down", dir); !strings.Contains(out, "does not run") {
		t.Errorf("down without a fleet:\n%s", out)
	}
	if out, err := call(t, fleetCommand, "status", dir); err == nil {
		t.Errorf("status without a fleet:\n%s", out)
	}
}

func TestUpThatFails(t *testing.T) {
	out, err := call(t, program(t), "up", "--dir="+t.TempDir(), "--managed=host")
	if err == nil || !strings.Contains(out, `"host" is the host's`) {
		t.Errorf("up with an impossible name: %v\n%s", err, out)
	}
}
