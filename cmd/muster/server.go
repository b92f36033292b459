// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/component-base/term"
	"k8s.io/klog/v2"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/muster-project/muster/cmd/muster/options"
	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/hostadmission"
	"github.com/muster-project/muster/pkg/apiserver/hostrights"
	"github.com/muster-project/muster/pkg/apiserver/serving"
	leadership "github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/drift"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/identity/guard"
	"github.com/muster-project/muster/pkg/storage/solitary"
	"github.com/muster-project/muster/pkg/version"
)

func newServerCommand() *cobra.Command {
	o := options.New()
	gates := utilfeature.DefaultMutableFeatureGate
	utilruntime.Must(logsapi.AddFeatureGates(gates))
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Serve the API and run the controllers",
		Long: "Serve Muster's API to the host cluster that aggregates it, and run the controllers. " +
			"Without --etcd-servers etcd runs inside the process, which makes it a complete single server.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.ServerRun.ComponentGlobalsRegistry.Set(); err != nil {
				return fmt.Errorf("set feature gates: %w", err)
			}
			if err := logsapi.ValidateAndApply(o.Logs, gates); err != nil {
				return fmt.Errorf("set up logging: %w", err)
			}
			ctrl.SetLogger(klog.Background())
			completed, err := o.Complete()
			if err != nil {
				return err
			}
			return runServer(cmd.Context(), completed)
		},
	}
	sections := o.Flags()
	for _, section := range sections.FlagSets {
		cmd.Flags().AddFlagSet(section)
	}
	columns, _, _ := term.TerminalSize(cmd.OutOrStdout())
	cliflag.SetUsageAndHelpFunc(cmd, sections, columns)
	return cmd
}

// runServer runs the server until ctx ends or something that it needs fails.
// What comes first ends last: etcd outlives the server, which ends its requests
// through it.
func runServer(ctx context.Context, o options.CompletedOptions) error {
	logger := klog.FromContext(ctx)
	logger.Info("Starting", "version", version.String(), "prefix", o.Prefix())
	collectSooner()
	host, err := newHost(o)
	if err != nil {
		return err
	}
	if err := hostrights.Check(ctx, host.client.AuthorizationV1(), o.Namespace, o.Reach()); err != nil {
		return err
	}
	if err := host.registrar.Preflight(ctx); err != nil {
		return err
	}
	if err := disableUnserved(ctx, o, host.client); err != nil {
		return err
	}
	var embedded *etcd.Server
	if o.EmbeddedEtcd {
		if embedded, err = etcd.Start(ctx, etcd.Config{DataDir: o.DataDir}); err != nil {
			return err
		}
		defer embedded.Close()
		if host.tenure, err = acquireTenure(ctx, o, host.client); err != nil {
			return err
		}
		o.UseEtcd(embedded.Endpoint())
	}
	if err := o.EtcdClient().CheckCertificates(ctx, time.Now()); err != nil {
		return err
	}
	// Only now: a server that cannot have its storage leaves nothing on the host.
	if o.ManagedCertificate {
		certificate, err := serving.NewCertificate(ctx, host.client, o.Namespace, hostrights.ServingSecret, o.ServingNames())
		if err != nil {
			return err
		}
		host.certificate, host.registrar.Certificate = certificate, certificate
		o.Recommended.SecureServing.ServerCert.GeneratedCert = certificate
	}
	p, err := newProcess(ctx, o, host, embedded)
	if err != nil {
		return err
	}
	defer p.close()
	return p.run(ctx)
}

// collectSooner has the garbage collector begin when the heap has grown by two
// fifths and not by all of it, unless the environment says otherwise. Most of the
// heap is what is known of a fleet: it lives long, so that a collection finds
// little, and what is spared is memory for each cluster.
func collectSooner() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(40)
	}
}

// host is what we know of the host cluster.
type host struct {
	config      *rest.Config
	client      kubernetes.Interface
	registrar   *serving.Registrar
	certificate *serving.Certificate // nil if files were given
	tenure      *solitary.Tenure     // nil if etcd is external
}

func newHost(o options.CompletedOptions) (*host, error) {
	hostConfig, err := o.HostConfig()
	if err != nil {
		return nil, err
	}
	client, err1 := kubernetes.NewForConfig(hostConfig)
	aggregator, err2 := aggregatorclient.NewForConfig(hostConfig)
	metadataClient, err3 := metadata.NewForConfig(hostConfig)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("make clients of the host cluster: %w", err)
	}
	serving.RegisterMetrics()
	leadership.RegisterMetrics()
	guard.RegisterMetrics()
	deploy.RegisterMetrics()
	drift.RegisterMetrics()
	return &host{config: hostConfig, client: client, registrar: &serving.Registrar{
		Host: client, Aggregator: aggregator, Metadata: metadataClient,
		Service: o.Service(), Groups: []string{lib.GroupName, config.GroupName},
	}}, nil
}

// acquireTenure makes sure that no other server of the installation embeds etcd.
// It follows the start of etcd, which has locked the data directory.
func acquireTenure(ctx context.Context, o options.CompletedOptions, client kubernetes.Interface) (*solitary.Tenure, error) {
	replica, err := replicaName()
	if err != nil {
		return nil, err
	}
	return solitary.Acquire(ctx, solitary.Options{Host: client, Namespace: o.Namespace, DataDir: o.DataDir, Server: replica})
}

// disableUnserved switches off admission plugins that the host is too old for.
func disableUnserved(ctx context.Context, o options.CompletedOptions, client kubernetes.Interface) error {
	unserved, err := hostadmission.Unserved(client.Discovery())
	if err != nil {
		return err
	}
	admission := o.Recommended.Admission
	for _, plugin := range unserved {
		if slices.Contains(admission.DisablePlugins, plugin) {
			continue
		}
		klog.FromContext(ctx).Info("Switched an admission plugin off, the host does not know what it enforces", "plugin", plugin)
		admission.DisablePlugins = append(admission.DisablePlugins, plugin)
		admission.EnablePlugins = slices.DeleteFunc(admission.EnablePlugins, func(name string) bool { return name == plugin })
	}
	return nil
}
