// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/muster-project/muster/cmd/muster/hostcluster"
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
)

// host is how both commands find the host cluster and the installation in it.
type host struct {
	kubeconfig string
	namespace  string
}

func (h *host) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&h.kubeconfig, "kubeconfig", "",
		"kubeconfig file of the host cluster. Without it the ServiceAccount of the Pod is used.")
	flags.StringVar(&h.namespace, "namespace", "projectsveltos", "Namespace of the host cluster that Muster is installed in.")
}

// NewPrepareCommand returns the command that makes the Secrets of an
// installation.
func NewPrepareCommand() *cobra.Command {
	var h host
	secrets := Secrets{Now: time.Now}
	cmd := &cobra.Command{
		Use:   "prepare",
		Short: "Make the Secrets that an installation needs, for the chart",
		Long: "Make the Secrets that an installation needs: certificates for etcd and the key of encryption. " +
			"What exists is kept; a certificate that comes to its end, or lacks a name, is signed anew by the same authority.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := hostcluster.Config(h.kubeconfig)
			if err != nil {
				return err
			}
			if secrets.Client, err = kubernetes.NewForConfig(config); err != nil {
				return fmt.Errorf("make a client of the host cluster: %w", err)
			}
			secrets.Namespace = h.namespace
			return secrets.Ensure(cmd.Context())
		},
	}
	flags := cmd.Flags()
	h.addFlags(flags)
	flags.StringVar(&secrets.Encryption, "encryption-secret", "",
		"Secret for an EncryptionConfiguration with a key drawn at random. None is made without it.")
	flags.StringVar(&secrets.Etcd, "etcd-secret", "",
		"Secret for the certificate that etcd's members and clients show. None is made without it.")
	flags.StringVar(&secrets.EtcdAuthority, "etcd-authority-secret", "",
		"Secret for the authority that signs that certificate.")
	flags.StringSliceVar(&secrets.EtcdNames, "etcd-names", nil,
		"DNS names and IP addresses that the certificate is for.")
	return cmd
}

// NewUnregisterCommand returns the command that takes Muster out of the host's
// API, before it is uninstalled.
func NewUnregisterCommand() *cobra.Command {
	var h host
	var service string
	cmd := &cobra.Command{
		Use:   "unregister",
		Short: "Delete Muster's APIServices before it is uninstalled, for the chart",
		Long: "Delete the APIServices that lead to Muster, and wait until they are gone. " +
			"With an APIService whose server is gone, the host could not delete any namespace. Nothing that Muster stores changes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			restConfig, err := hostcluster.Config(h.kubeconfig)
			if err != nil {
				return err
			}
			client, err := aggregatorclient.NewForConfig(restConfig)
			if err != nil {
				return fmt.Errorf("make a client of the host cluster: %w", err)
			}
			return Unregister(cmd.Context(), client, []string{lib.GroupName, config.GroupName}, h.namespace, service)
		},
	}
	h.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&service, "service-name", "muster", "Service in that namespace that Muster's APIServices lead to.")
	return cmd
}
