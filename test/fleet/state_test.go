// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStateSurvivesTheFile(t *testing.T) {
	dir := t.TempDir()
	want := State{
		Name: "a", Ready: true, Owner: ProcessID{PID: 7, Started: "99"},
		Processes:  []ProcessState{{Name: "etcd", ProcessID: ProcessID{PID: 8, Started: "100"}, Log: "/x/etcd.log"}},
		Kubeconfig: "/x/kubeconfig",
		Managed:    []ClusterState{{Name: "cluster1", Kubeconfig: "/x/cluster1"}},
		Charts:     "http://127.0.0.1:1/",
		Control:    "/x/control.sock",
	}
	if err := want.write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("state read back (-want +got):\n%s", diff)
	}
}

func TestReadStateOfNoFleet(t *testing.T) {
	if _, err := ReadState(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadState(dir); err == nil || !strings.Contains(err.Error(), stateFile) {
		t.Errorf("a broken file: %v, want its name", err)
	}
}

func TestProcessIdentity(t *testing.T) {
	self, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	reused := self
	reused.Started += "1"
	ended := launchForTest(t, shell(t.TempDir(), "short", "exit 0"))
	<-ended.done
	for name, test := range map[string]struct {
		id    ProcessID
		alive bool
	}{
		"this process":                      {self, true},
		"another process with its pid":      {reused, false},
		"a process that ended":              {ended.id, false},
		"none":                              {ProcessID{}, false},
		"one whose start could not be read": {ProcessID{PID: self.PID}, false},
	} {
		if got := test.id.Alive(); got != test.alive {
			t.Errorf("%s: alive=%t, want %t", name, got, test.alive)
		}
	}
}

// Down ends what the state file names and nothing else, whatever has happened
// to the pids meanwhile.
func TestDownEndsOnlyWhatTheFleetStarted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	owner := launchForTest(t, shell(t.TempDir(), "owner", "exec sleep 600"))
	ours := launchForTest(t, shell(t.TempDir(), "ours", "exec sleep 600"))
	stranger := launchForTest(t, shell(t.TempDir(), "stranger", "exec sleep 600"))
	reused := stranger.id
	reused.Started = "1"
	state := State{Name: "x", Owner: owner.id, Processes: []ProcessState{
		{Name: "ours", ProcessID: ours.id}, {Name: "ended long ago", ProcessID: reused},
	}}
	if err := state.write(dir); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if owner.running() || ours.running() {
		t.Error("a process of the fleet is left")
	}
	if !stranger.id.Alive() {
		t.Error("a process that was never the fleet's was ended")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	if err := Down(t.Context(), dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ending it again: %v, want that there is none", err)
	}
}

func TestLedgerNamesTheLatestRunOfEachCommand(t *testing.T) {
	dir := t.TempDir()
	l := &ledger{dir: dir}
	var running sync.WaitGroup
	latest := map[string]*process{}
	var mu sync.Mutex
	for _, name := range []string{"a", "b", "c"} {
		running.Go(func() {
			for range 3 {
				p, err := l.launch(shell(dir, name, "exec sleep 600"))
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(p.kill)
				mu.Lock()
				latest[name] = p
				mu.Unlock()
			}
		})
	}
	running.Wait()
	state, err := ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Processes) != len(latest) {
		t.Fatalf("%d processes recorded, want %d", len(state.Processes), len(latest))
	}
	for _, p := range state.Processes {
		if p.ProcessID != latest[p.Name].id {
			t.Errorf("%s is recorded as %v, want %v", p.Name, p.ProcessID, latest[p.Name].id)
		}
	}
}
