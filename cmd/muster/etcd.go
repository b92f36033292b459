// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/muster-project/muster/cmd/muster/hostcluster"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/member"
)

// hostTimeout limits a request to the host cluster: a member that has its data starts without it.
const hostTimeout = 10 * time.Second

// etcdOptions are the flags of a member of an etcd cluster.
type etcdOptions struct {
	member.Config

	peers, clients                   []string
	kubeconfig, namespace, configMap string
	logs                             *logsapi.LoggingConfiguration
}

func newEtcdCommand() *cobra.Command {
	o := &etcdOptions{logs: logsapi.NewLoggingConfiguration()}
	cmd := &cobra.Command{
		Use:   "etcd",
		Short: "Run one member of the etcd cluster that Muster keeps its data in",
		Long: "Run one member of the etcd cluster that Muster keeps its data in. Members bootstrap a cluster once, take one back that has lost " +
			"its data, defragment themselves one after the other, and follow their certificates when those are replaced.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := logsapi.ValidateAndApply(o.logs, nil); err != nil {
				return fmt.Errorf("set up logging: %w", err)
			}
			return o.run(cmd.Context())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *etcdOptions) addFlags(fs *pflag.FlagSet) {
	hostname, _ := os.Hostname() // without it, the flag has to be given
	fs.StringVar(&o.Name, "name", hostname, "Name of this member, one of --peers.")
	fs.StringVar(&o.DataDir, "data-dir", "/var/lib/muster-etcd", "Directory of this member's data. It belongs to this member alone.")
	fs.StringSliceVar(&o.peers, "peers", nil,
		"All members, this one among them, and where they reach each other: name=https://host:port, comma separated.")
	fs.StringSliceVar(&o.clients, "clients", nil,
		"Where clients reach members, in the same form. Without it: the hosts of --peers, with the port of --listen-client.")
	fs.StringVar(&o.ListenPeer, "listen-peer", "0.0.0.0:2380", "Address, IP:port, to serve the other members on.")
	fs.StringVar(&o.ListenClient, "listen-client", "0.0.0.0:2379", "Address, IP:port, to serve clients on.")
	fs.StringVar(&o.ListenHealth, "listen-health", "0.0.0.0:2381", "Address, host:port, to serve /livez, /readyz and /metrics on, without TLS. Empty for none.")
	fs.StringVar(&o.ClientTLS.CertFile, "cert-file", "/etc/muster/etcd/tls.crt", "Certificate to serve clients with, and to ask other members with. It may be replaced at any time, like its key and CA.")
	fs.StringVar(&o.ClientTLS.KeyFile, "key-file", "/etc/muster/etcd/tls.key", "Key of --cert-file.")
	fs.StringVar(&o.ClientTLS.CAFile, "ca-file", "/etc/muster/etcd/ca.crt", "CA that clients' certificates have to be signed by.")
	fs.StringVar(&o.PeerTLS.CertFile, "peer-cert-file", "", "Certificate for the other members. Default: --cert-file.")
	fs.StringVar(&o.PeerTLS.KeyFile, "peer-key-file", "", "Key of --peer-cert-file. Default: --key-file.")
	fs.StringVar(&o.PeerTLS.CAFile, "peer-ca-file", "", "CA that the other members' certificates have to be signed by. Default: --ca-file.")
	fs.Int64Var(&o.QuotaBytes, "quota-bytes", etcd.DefaultQuotaBytes, "Size of the data from which on writes are refused.")
	fs.DurationVar(&o.DefragmentPeriod, "defragment-period", member.DefaultDefragmentPeriod, "How often a member looks whether it should defragment itself.")
	fs.Int64Var(&o.DefragmentFreeBytes, "defragment-free-bytes", member.DefaultDefragmentFreeBytes,
		"Free bytes in the data file from which on a member defragments itself, if they are a third of it or the quota is near.")
	fs.DurationVar(&o.Timing.Heartbeat, "heartbeat", 0, "Period of the leader's heartbeats. Default: 200ms, which is fit for members in several zones.")
	fs.DurationVar(&o.Timing.Election, "election", 0, "Time without heartbeats after which a leader is elected, at least five of them. Default: 2s.")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file of the host cluster. Without it the ServiceAccount of the Pod is used.")
	fs.StringVar(&o.namespace, "namespace", "projectsveltos", "Namespace of the host cluster for --configmap.")
	fs.StringVar(&o.configMap, "configmap", "muster-etcd",
		"ConfigMap of the host cluster that remembers that the etcd cluster was bootstrapped, so that it never is again.")
	logsapi.AddFlags(o.logs, fs)
}

func (o *etcdOptions) run(ctx context.Context) error {
	_, port, err := net.SplitHostPort(o.ListenClient)
	if err != nil {
		return fmt.Errorf("--listen-client: %w", err)
	}
	if o.Peers, err = member.ParsePeers(o.peers, o.clients, port); err != nil {
		return fmt.Errorf("--peers or --clients: %w", err)
	}
	o.PeerTLS.CertFile = cmp.Or(o.PeerTLS.CertFile, o.ClientTLS.CertFile)
	o.PeerTLS.KeyFile = cmp.Or(o.PeerTLS.KeyFile, o.ClientTLS.KeyFile)
	o.PeerTLS.CAFile = cmp.Or(o.PeerTLS.CAFile, o.ClientTLS.CAFile)
	host, err := o.host()
	if err != nil {
		return err
	}
	o.Bootstrapped = &member.ConfigMap{Client: host.CoreV1(), Namespace: o.namespace, Name: o.configMap}
	return member.Run(ctx, o.Config)
}

func (o *etcdOptions) host() (kubernetes.Interface, error) {
	config, err := hostcluster.Config(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.Timeout = hostTimeout
	return kubernetes.NewForConfig(config)
}
