// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MusterTarget is the Fault target that is all of Muster's servers.
const MusterTarget = "muster"

// Fault is something that happens to a part of a fleet.
type Fault struct {
	// Target is a managed cluster, "host", "muster", or one of several replicas
	// or members, by its name.
	Target string `json:"target"`
	// Action is one of FaultActions.
	Action string `json:"action"`
	// Delay is for action "delay".
	Delay time.Duration `json:"delay,omitempty"`
}

// FaultActions lists what can happen, and to what.
func FaultActions() []string {
	return []string{"kill", "restart", "pause", "resume", "replace", "cut", "delay", string(Forward), string(Refuse), string(BlackHole)}
}

// Inflict makes a fault happen, and returns when it has.
func (f *Fleet) Inflict(ctx context.Context, fault Fault) error {
	if fault.Target == MusterTarget && f.Muster != nil {
		return f.inflictMuster(ctx, fault)
	}
	if f.Muster != nil {
		for _, s := range f.Muster.servers() {
			if s.Name() == fault.Target {
				return s.inflict(ctx, fault)
			}
		}
	}
	all := append([]*ControlPlane{f.Host}, f.managed...)
	i := slices.IndexFunc(all, func(c *ControlPlane) bool { return c.name == fault.Target })
	if i < 0 {
		return fmt.Errorf("fleet %s has no part %q", f.options.Name, fault.Target)
	}
	return all[i].inflict(ctx, fault)
}

func (f *Fleet) inflictMuster(ctx context.Context, fault Fault) error {
	switch fault.Action {
	case "kill":
		return f.Muster.Kill()
	case "restart":
		if f.Muster.Running() {
			if err := f.Muster.Stop(ctx); err != nil {
				return err
			}
		}
		return f.Muster.Start(ctx)
	default:
		return fmt.Errorf("%q cannot happen to muster: kill and restart can", fault.Action)
	}
}

func (s *Server) inflict(ctx context.Context, fault Fault) error {
	switch fault.Action {
	case "kill":
		return s.Kill()
	case "restart":
		if s.Running() {
			if err := s.Stop(ctx); err != nil {
				return err
			}
		}
		return s.Start(ctx)
	case "pause":
		return s.Pause()
	case "resume":
		return s.Resume()
	default:
		return fmt.Errorf("%q cannot happen to %s: kill, restart, pause and resume can", fault.Action, s.Name())
	}
}

func (c *ControlPlane) inflict(ctx context.Context, fault Fault) error {
	switch fault.Action {
	case "kill":
		return c.Kill(ctx)
	case "restart":
		return c.Restart(ctx)
	}
	if c.Proxy == nil {
		return fmt.Errorf("%q cannot happen to %s: kill and restart can", fault.Action, c.name)
	}
	switch fault.Action {
	case "replace":
		return c.Replace(ctx)
	case "cut":
		c.Proxy.Cut()
		return nil
	case "delay":
		c.Proxy.Delay(fault.Delay)
		return nil
	case string(Forward), string(Refuse), string(BlackHole):
		return c.Proxy.Set(ctx, Mode(fault.Action))
	default:
		return fmt.Errorf("nothing is called %q: want one of %s", fault.Action, strings.Join(FaultActions(), ", "))
	}
}

// ServeControl takes faults from other processes, through a unix socket that
// the state file names, until ctx is done. It calls ready once they can come.
func (f *Fleet) ServeControl(ctx context.Context, ready func() error) error {
	path := filepath.Join(f.etcd.sockets, "control.sock")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listening for faults: %w", err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(f.serveFault),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	err = f.ledger.update(func(state *State) { state.Control = path })
	if err == nil {
		err = ready()
	}
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listening for faults: %w", err)
	}
	return nil
}

func (f *Fleet) serveFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	if err := json.NewDecoder(r.Body).Decode(&fault); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := f.Inflict(r.Context(), fault); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	}
}

// Inflict makes a fault happen in a fleet that another process runs.
func (s *State) Inflict(ctx context.Context, fault Fault) error {
	if s.Control == "" {
		return fmt.Errorf("fleet %s takes no faults from other processes", s.Name)
	}
	body, err := json.Marshal(fault)
	if err != nil {
		return fmt.Errorf("encoding a fault: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://fleet/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("encoding a fault: %w", err)
	}
	dialer := net.Dialer{}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", s.Control)
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking fleet %s: %w", s.Name, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("asking fleet %s: %w", s.Name, err)
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(answer)))
	}
	return nil
}
