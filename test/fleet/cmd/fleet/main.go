// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fleet runs a local fleet: real control planes as processes, with
// Muster registered in them. `make up` and `make down` call it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-project/muster/test/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// settings are the flags that all subcommands share.
type settings struct {
	name string
	dir  string
}

func (s *settings) directory() (string, error) {
	if s.dir != "" {
		return s.dir, nil
	}
	return fleet.DefaultDir(s.name)
}

// state of the fleet, if it runs.
func (s *settings) state() (*fleet.State, error) {
	dir, err := s.directory()
	if err != nil {
		return nil, err
	}
	state, err := fleet.ReadState(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil || !state.Running() {
		return nil, fmt.Errorf("fleet %s does not run", s.name)
	}
	return state, nil
}

func newCommand() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use:           "fleet",
		Short:         "Run real Kubernetes control planes on loopback, with Muster in them",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&s.name, "name", fleet.DefaultName, "name of the fleet; fleets of different names run side by side")
	root.PersistentFlags().StringVar(&s.dir, "dir", "", "directory of the fleet (default .fleet/<name> in the repository)")
	root.AddCommand(newUp(s), newServe(s), newDown(s), newStatus(s))
	for _, action := range fleet.FaultActions() {
		root.AddCommand(newFault(s, action))
	}
	return root
}

func newDown(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the fleet, and only what it started",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := s.directory()
			if err != nil {
				return err
			}
			err = fleet.Down(cmd.Context(), dir)
			if errors.Is(err, os.ErrNotExist) {
				fmt.Fprintf(cmd.OutOrStdout(), "fleet %s does not run\n", s.name)
				return nil
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "fleet %s has ended\n", s.name)
			return nil
		},
	}
}

func newStatus(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Print the fleet's processes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := s.state()
			if err != nil {
				return err
			}
			for _, p := range state.Processes {
				status := "ended"
				if p.Alive() {
					status = "runs"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%-40s %8d  %-5s  %s\n", p.Name, p.PID, status, p.Log)
			}
			return nil
		},
	}
}

// faultHelp is one line for each of fleet.FaultActions.
var faultHelp = map[string]string{
	"kill":      "End the target's server with SIGKILL",
	"restart":   "Start the target's server again, on its data",
	"pause":     "Stop the target's process where it is, with SIGSTOP",
	"resume":    "Let the target's process go on",
	"replace":   "Put another, empty cluster behind the target's address",
	"cut":       "Reset the target's connections",
	"delay":     "Delay all traffic with the target; 0s ends that",
	"forward":   "Let traffic with the target pass again",
	"refuse":    "Refuse connections to the target",
	"blackhole": "Let traffic with the target vanish",
}

func newFault(s *settings, action string) *cobra.Command {
	use, args := action+" TARGET", cobra.ExactArgs(1)
	if action == "delay" {
		use, args = action+" TARGET DURATION", cobra.ExactArgs(2)
	}
	return &cobra.Command{
		Use:   use,
		Short: faultHelp[action],
		Args:  args,
		RunE: func(cmd *cobra.Command, args []string) error {
			fault := fleet.Fault{Target: args[0], Action: action}
			if len(args) > 1 {
				var err error
				if fault.Delay, err = time.ParseDuration(args[1]); err != nil {
					return err
				}
			}
			state, err := s.state()
			if err != nil {
				return err
			}
			return state.Inflict(cmd.Context(), fault)
		},
	}
}
