// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// stateFile describes a running fleet, in its directory.
const stateFile = "fleet.json"

// ProcessID names a process for good: a pid alone is reused.
type ProcessID struct {
	PID int `json:"pid"`
	// Started is the operating system's start time, only ever compared.
	Started string `json:"started"`
}

// ProcessState is a process of a running fleet.
type ProcessState struct {
	Name string `json:"name"`
	ProcessID
	Log string `json:"log"`
}

// ClusterState is a managed control plane of a running fleet.
type ClusterState struct {
	Name string `json:"name"`
	// Kubeconfig is an administrator's, through the cluster's proxy.
	Kubeconfig string `json:"kubeconfig"`
}

// State is what a running fleet says of itself in its directory, for commands
// in other processes.
type State struct {
	Name string `json:"name"`
	// Ready is set once everything runs.
	Ready bool `json:"ready"`
	// Owner is the process that runs the proxies and started the others.
	Owner ProcessID `json:"owner"`
	// Processes are those that run, in the order they were started.
	Processes []ProcessState `json:"processes"`
	// Kubeconfig is an administrator's of the host.
	Kubeconfig string         `json:"kubeconfig"`
	Managed    []ClusterState `json:"managed"`
	// Charts is the URL of the chart repository.
	Charts string `json:"charts,omitempty"`
	// Control is the unix socket that takes Fault commands.
	Control string `json:"control,omitempty"`
}

// identify names the process that has the pid now.
func identify(pid int) (ProcessID, error) {
	started, err := startTime(pid)
	return ProcessID{PID: pid, Started: started}, err
}

// Alive says whether this very process still runs.
func (id ProcessID) Alive() bool {
	if id.PID <= 0 || id.Started == "" {
		return false
	}
	now, err := identify(id.PID)
	return err == nil && now == id
}

// signal reaches the process if it is still the same, and nobody else.
func (id ProcessID) signal(sig syscall.Signal) {
	if id.Alive() {
		_ = syscall.Kill(id.PID, sig)
	}
}

// awaitEnd waits until the process has ended.
func (id ProcessID) awaitEnd(ctx context.Context) error {
	return poll(ctx, nil, func(context.Context) error {
		if id.Alive() {
			return fmt.Errorf("process %d still runs", id.PID)
		}
		return nil
	})
}

// ReadState reads the state of the fleet in dir. The error wraps
// os.ErrNotExist if there is none.
func ReadState(dir string) (*State, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("reading the fleet's state: %w", err)
	}
	var state State
	if err := json.Unmarshal(data, &state); err != nil {
		return nil, fmt.Errorf("reading the fleet's state: %s: %w", filepath.Join(dir, stateFile), err)
	}
	return &state, nil
}

// Running says whether the fleet's owner lives.
func (s *State) Running() bool { return s.Owner.Alive() }

// write replaces the state file in one step: a reader sees the old or the new.
func (s *State) write(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the fleet's state: %w", err)
	}
	temporary := filepath.Join(dir, stateFile+".new")
	if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the fleet's state: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, stateFile)); err != nil {
		return fmt.Errorf("writing the fleet's state: %w", err)
	}
	return nil
}

// ownerGrace is how long an owner may take to end its fleet by itself.
const ownerGrace = 20 * time.Second

// Down ends the fleet in dir, whoever started it, and removes the directory.
// It ends only processes that the state file names and that are still the
// same ones. The error wraps os.ErrNotExist if there is no fleet.
func Down(ctx context.Context, dir string) error {
	state, err := ReadState(dir)
	if err != nil {
		return err
	}
	state.Owner.signal(syscall.SIGTERM)
	grace, cancel := context.WithTimeout(ctx, ownerGrace)
	defer cancel()
	if err := state.Owner.awaitEnd(grace); err != nil {
		state.Owner.signal(syscall.SIGKILL)
	}
	// An owner that was killed leaves the file of its last moment, and, where
	// children don't die with their parent, the children.
	if last, err := ReadState(dir); err == nil {
		state = last
	}
	var failed []error
	for _, p := range state.Processes {
		p.signal(syscall.SIGKILL)
		if err := p.awaitEnd(ctx); err != nil {
			failed = append(failed, fmt.Errorf("ending %s: %w", p.Name, err))
		}
	}
	if err := errors.Join(append(failed, state.Owner.awaitEnd(ctx))...); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the fleet's directory: %w", err)
	}
	return nil
}
