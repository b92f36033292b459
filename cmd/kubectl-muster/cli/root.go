// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command tree of kubectl-muster.
package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
)

// New returns the root command. Errors are returned, not printed: whoever runs it
// prints them once and exits with a status other than zero.
func New(streams genericiooptions.IOStreams) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-muster",
		Short: "Look after a fleet of Kubernetes clusters",
		Long:  "Look after a fleet of Kubernetes clusters. Everything here can be done with kubectl too; this is shorter.",
		// Installed as a plugin, it is called as two words.
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl muster"},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.AddCommand(
		newRegister(streams),
		newDeregister(streams),
		newShow(streams),
		newSelection(streams),
		newDiff(streams),
		newRedeploy(streams),
		newWait(streams),
		newHistory(streams),
		newRollback(streams),
		newConfirmStorage(streams),
		newDoctor(streams),
		newVersion(streams),
	)
	return root
}

// hostFlags are kubectl's flags for the cluster that Muster is registered in,
// less --cluster, which here names a managed cluster.
func hostFlags() *genericclioptions.ConfigFlags {
	flags := genericclioptions.NewConfigFlags(true)
	flags.ClusterName = nil
	return flags
}

// clients reach the host cluster and, through it, Muster.
type clients struct {
	config *rest.Config
	host   kubernetes.Interface
	muster versioned.Interface
}

func connect(flags *genericclioptions.ConfigFlags) (*clients, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the host cluster: %w", err)
	}
	host, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("building a client of the host cluster: %w", err)
	}
	muster, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("building a client of Muster: %w", err)
	}
	return &clients{config: config, host: host, muster: muster}, nil
}
