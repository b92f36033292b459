// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/muster-project/muster/test/fleet"
)

// namespace and label of the managed clusters that `fleet up` registers: those
// of the examples.
const namespace = "civo"

var labels = map[string]string{"env": "prod"}

type upFlags struct {
	managed     []string
	controllers bool
	muster      bool
	replicas    int
	register    bool
}

func (u *upFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&u.managed, "managed", []string{"cluster1", "cluster2", "cluster3"}, "names of the managed clusters")
	cmd.Flags().BoolVar(&u.controllers, "managed-controllers", false, "run a kube-controller-manager for each managed cluster")
	cmd.Flags().BoolVar(&u.muster, "muster", true, "run Muster and register it in the host")
	cmd.Flags().IntVar(&u.replicas, "replicas", 0, "replicas of Muster, on three members of etcd; 0 for one server with its etcd inside")
	cmd.Flags().BoolVar(&u.register, "register", true, "register the managed clusters with Muster")
}

func (u *upFlags) arguments(s *settings, dir string) []string {
	return []string{
		"serve", "--name=" + s.name, "--dir=" + dir,
		"--managed=" + strings.Join(u.managed, ","),
		fmt.Sprintf("--managed-controllers=%t", u.controllers),
		fmt.Sprintf("--muster=%t", u.muster),
		fmt.Sprintf("--replicas=%d", u.replicas),
		fmt.Sprintf("--register=%t", u.register),
	}
}

func newUp(s *settings) *cobra.Command {
	u := &upFlags{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a fleet and leave it running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := s.state()
			if err != nil {
				if state, err = u.start(cmd.Context(), s, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			u.printHints(cmd.OutOrStdout(), s.name, state)
			return nil
		},
	}
	u.add(cmd)
	return cmd
}

// start runs `fleet serve` in a session of its own, shows its progress, and
// returns when the fleet is ready.
func (u *upFlags) start(ctx context.Context, s *settings, out io.Writer) (*fleet.State, error) {
	dir, err := s.directory()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	// The server closes its end of the pipe when the fleet is ready, and the
	// kernel does when the server dies before that.
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer reader.Close()
	server := exec.Command(program, u.arguments(s, dir)...)
	server.Stdout, server.Stderr = writer, writer
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = server.Start()
	_ = writer.Close()
	if err != nil {
		return nil, fmt.Errorf("starting the fleet: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = server.Process.Signal(syscall.SIGTERM) })()
	if _, err := io.Copy(out, reader); err != nil {
		return nil, fmt.Errorf("reading the fleet's progress: %w", err)
	}
	state, err := fleet.ReadState(dir)
	if err != nil || !state.Ready {
		return nil, errors.Join(errors.New("the fleet did not start"), server.Wait())
	}
	return state, nil
}

// newServe is what `fleet up` leaves running.
func newServe(s *settings) *cobra.Command {
	u := &upFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a fleet until SIGTERM",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := s.directory()
			if err != nil {
				return err
			}
			return u.serve(cmd.Context(), s, dir)
		},
	}
	u.add(cmd)
	return cmd
}

func (u *upFlags) serve(ctx context.Context, s *settings, dir string) error {
	began := time.Now()
	f, err := fleet.Start(ctx, fleet.Options{
		Name: s.name, Dir: dir, Managed: u.managed, ManagedControllers: u.controllers, WithoutMuster: !u.muster, Replicas: u.replicas,
		Logf: func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	if u.muster && u.register {
		for _, name := range u.managed {
			if err := f.RegisterManaged(ctx, namespace, name, labels); err != nil {
				return errors.Join(err, f.Stop())
			}
		}
	}
	err = f.ServeControl(ctx, func() error {
		fmt.Printf("fleet %s is ready after %.1fs\n", s.name, time.Since(began).Seconds())
		return detach(dir)
	})
	return errors.Join(err, f.Stop())
}

// detach gives up the terminal: from here on this process writes to its log.
func detach(dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "fleet.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the fleet's log: %w", err)
	}
	defer log.Close()
	for _, standard := range []*os.File{os.Stdout, os.Stderr} {
		if err := unix.Dup2(int(log.Fd()), int(standard.Fd())); err != nil {
			return fmt.Errorf("giving up the terminal: %w", err)
		}
	}
	return nil
}

// printHints says how to reach the fleet and what to try there.
func (u *upFlags) printHints(out io.Writer, name string, state *fleet.State) {
	program, err := os.Executable()
	if err != nil {
		program = "fleet"
	}
	command := "fleet"
	if name != fleet.DefaultName {
		command += " --name=" + name
	}
	fmt.Fprintf(out, "\nexport KUBECONFIG=%s\nexport PATH=%s:$PATH\n\nWhat to try:\n", state.Kubeconfig, filepath.Dir(program))
	if !u.register {
		for _, c := range state.Managed {
			fmt.Fprintf(out, "  kubectl muster register cluster --namespace %s --cluster %s --kubeconfig %s --labels env=prod\n", namespace, c.Name, c.Kubeconfig)
		}
	}
	fmt.Fprintln(out, `  kubectl get sveltosclusters -A --show-labels
  kubectl apply -f artifacts/examples/failover/clusterset.yaml -f artifacts/examples/failover/clusterprofile.yaml
  kubectl get clusterset prod --subresource=selection
  kubectl muster show addons`)
	if u.replicas > 1 {
		fmt.Fprintf(out, "  kubectl get lease -n %s\n  %s kill muster-0      # another replica leads\n", fleet.Namespace, command)
	}
	if len(state.Managed) > 0 {
		fmt.Fprintf(out, "  %s kill %s      # then look again\n", command, state.Managed[0].Name)
		fmt.Fprintf(out, "  %s restart %s   # bring it back\n", command, state.Managed[0].Name)
	}
}
