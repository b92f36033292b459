// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/version"
)

func newVersion(streams genericiooptions.IOStreams) *cobra.Command {
	flags := hostFlags()
	var clientOnly bool
	command := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and of what it talks to",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			fmt.Fprintf(streams.Out, "Client Version: %s\n", version.String())
			if clientOnly {
				return nil
			}
			clients, err := connect(flags)
			if err != nil {
				return err
			}
			host, err := clients.host.Discovery().ServerVersion()
			if err != nil {
				return fmt.Errorf("asking the host cluster for its version: %w", err)
			}
			fmt.Fprintf(streams.Out, "Host Version: %s\n", host.GitVersion)
			if _, err := clients.muster.Discovery().ServerResourcesForGroupVersion(libv1beta1.SchemeGroupVersion.String()); err != nil {
				return fmt.Errorf("%s is not served: Muster is not installed in the host cluster, or is not running: %w", libv1beta1.SchemeGroupVersion, err)
			}
			fmt.Fprintf(streams.Out, "Muster API: %s\n", libv1beta1.SchemeGroupVersion)
			return nil
		},
	}
	flags.AddFlags(command.Flags())
	command.Flags().BoolVar(&clientOnly, "client", false, "show this program's version only")
	return command
}
