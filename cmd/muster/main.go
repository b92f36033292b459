// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Command muster is the fleet control plane: an API server that a host cluster
// aggregates, and the controllers of the replica that leads.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"

	"github.com/muster-project/muster/cmd/muster/backups"
	"github.com/muster-project/muster/cmd/muster/installation"
	"github.com/muster-project/muster/pkg/version"
)

func main() {
	// A worker has nothing to do with logs, flags and signals, and is started
	// within milliseconds, which cobra and its flags would take.
	if len(os.Args) == 2 && os.Args[1] == scriptWorkerCommand {
		if err := serveWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "script worker:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(cli.Run(newCommand(genericapiserver.SetupSignalContext())))
}

func newCommand(ctx context.Context) *cobra.Command {
	root := &cobra.Command{
		Use:   "muster",
		Short: "Fleet control plane for Kubernetes",
		Long: "Muster registers clusters, selects which of them are active, deploys add-ons to the selected ones, and moves them when a cluster dies. " +
			"It serves its API through a host cluster, to kubectl.",
		SilenceUsage: true,
	}
	root.SetContext(ctx)
	root.AddCommand(newServerCommand(), newEtcdCommand(), backups.NewBackupCommand(), backups.NewRestoreCommand(),
		installation.NewPrepareCommand(), installation.NewUnregisterCommand(),
		newScriptWorkerCommand(), newVersionCommand())
	return root
}

// newScriptWorkerCommand exists for the help text, and for whoever gives it
// arguments: main serves the command itself.
func newScriptWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   scriptWorkerCommand,
		Short: "Evaluate templates, build kustomizations and render charts for a server, which starts this by itself",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveWorker(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "muster", version.Long())
			return err
		},
	}
}
