// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/cmd/muster/backups"
	"github.com/muster-project/muster/cmd/muster/installation"
	"github.com/muster-project/muster/cmd/muster/options"
	"github.com/muster-project/muster/pkg/controllers/term"
)

// arguments of the first container of a Pod, without the command.
func arguments(t *testing.T, objects []client.Object, pod, command string) []string {
	t.Helper()
	template := podTemplates(objects)[pod]
	if template == nil {
		t.Fatalf("no %s", pod)
	}
	args := template.Spec.Containers[0].Args
	if len(args) == 0 || args[0] != command {
		t.Fatalf("%s runs %q, want muster %s", pod, args, command)
	}
	return args[1:]
}

// serverOptions parses a server's arguments as the server does.
func serverOptions(t *testing.T, values string) options.CompletedOptions {
	t.Helper()
	o := options.New()
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	for _, section := range o.Flags().FlagSets {
		flags.AddFlagSet(section)
	}
	if err := flags.Parse(arguments(t, render(t, values), "Deployment muster", "server")); err != nil {
		t.Fatal(err)
	}
	completed, err := o.Complete()
	if err != nil {
		t.Fatal(err)
	}
	return completed
}

// What the chart says is what the server understands, and takes.
func TestTheServerTakesItsArguments(t *testing.T) {
	for name, values := range valuesSets {
		t.Run(name, func(t *testing.T) {
			o := serverOptions(t, values)
			if o.EmbeddedEtcd {
				t.Error("etcd is embedded: the number of replicas would change the data")
			}
			if o.Namespace != namespace || o.ServiceName != "muster" || !o.ManagedCertificate {
				t.Errorf("namespace %s, Service %s, managed certificate %t", o.Namespace, o.ServiceName, o.ManagedCertificate)
			}
			if delay := o.ServerRun.ShutdownDelayDuration.Seconds(); delay != 10 || !o.ServerRun.ShutdownSendRetryAfter {
				t.Errorf("shutdown after %v s", delay)
			}
		})
	}
}

func TestValuesReachTheServer(t *testing.T) {
	if listed := serverOptions(t, valuesSets["listed namespaces"]).Reach(); !slices.Equal(listed, []string{"fleet-a", "fleet-b", namespace}) {
		t.Errorf("rbac.readNamespaces: %q are read", listed)
	}
	o := serverOptions(t, everything)
	if o.Recommended.SecureServing.BindPort != 10250 || o.Prefix() != "/registry/muster/blue" {
		t.Errorf("port %d, prefix %s", o.Recommended.SecureServing.BindPort, o.Prefix())
	}
	if got := o.Mirrors.Resolve("oci://a.example.org/x/chart"); got != "oci://b.example.org/y/chart" {
		t.Errorf("a mirrored chart comes from %s", got)
	}
	if got := fmt.Sprint(o.Addresses); got != "{[127.0.0.1/32 fd00::/8] [10.0.0.0/8 192.0.2.7/32]}" {
		t.Errorf("sourceAddresses: allowed and forbidden are %s", got)
	}
	if o.ServerRun.MaxRequestsInFlight != 1000 {
		t.Errorf("extraArgs: %d requests in flight", o.ServerRun.MaxRequestsInFlight)
	}
	if o.Logs.Format != "json" || o.Logs.Verbosity != 4 {
		t.Errorf("logs: format %s, verbosity %d", o.Logs.Format, o.Logs.Verbosity)
	}
	if o.Recommended.Audit.PolicyFile == "" || o.Recommended.Audit.LogOptions.Path != "-" {
		t.Error("no audit log")
	}
	clear := serverOptions(t, valuesSets["an etcd of one's own, in clear"])
	if clear.Recommended.Etcd.EncryptionProviderConfigFilepath != "" || clear.EtcdClient().CAFile != "" {
		t.Error("encryption and certificates where there are none")
	}
	own := serverOptions(t, valuesSets["an etcd of one's own"])
	if diff := cmp.Diff([]string{"https://a.example.org:2379", "https://b.example.org:2379"}, own.EtcdClient().Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

// A Pod that is killed before it has ended loses requests.
func TestThereIsTimeToEnd(t *testing.T) {
	o := serverOptions(t, "")
	drain := int64(term.DefaultDrainLimit.Seconds())
	grace := *podTemplates(render(t, ""))["Deployment muster"].Spec.TerminationGracePeriodSeconds
	if want := drain + int64(o.ServerRun.ShutdownDelayDuration.Seconds()+o.ServerRun.RequestTimeout.Seconds()); grace <= want {
		t.Errorf("%d s, of which a term's end, the shutdown delay and the longest request take %d", grace, want)
	}
}

// Muster, the members and the certificate mean the same names, and any number of
// members to come is in the certificate.
func TestEtcdsNames(t *testing.T) {
	for _, replicas := range []string{"1", "3", "5"} {
		objects := render(t, "etcd: {replicas: "+replicas+"}")
		statefulSet := one[*appsv1.StatefulSet](t, objects, "muster-etcd")
		var servers, peers, names []string
		for _, argument := range arguments(t, objects, "Deployment muster", "server") {
			if value, ok := strings.CutPrefix(argument, "--etcd-servers="); ok {
				servers = strings.Split(value, ",")
			}
		}
		for _, argument := range arguments(t, objects, "StatefulSet muster-etcd", "etcd") {
			if value, ok := strings.CutPrefix(argument, "--peers="); ok {
				peers = strings.Split(value, ",")
			}
		}
		for _, argument := range arguments(t, objects, "Job muster-prepare", "prepare") {
			if value, ok := strings.CutPrefix(argument, "--etcd-names="); ok {
				names = strings.Split(value, ",")
			}
		}
		if n := int(*statefulSet.Spec.Replicas); len(servers) != n || len(peers) != n || len(names) < 6 {
			t.Fatalf("%d members, servers %q, peers %q, names %q", n, servers, peers, names)
		}
		for i, server := range servers {
			member, peer, _ := strings.Cut(peers[i], "=")
			if host(t, server) != host(t, peer) || !slices.Contains(names, host(t, server)) ||
				host(t, server) != member+"."+statefulSet.Spec.ServiceName+"."+namespace+".svc" {
				t.Errorf("member %s: server %s, peer %s, names %q", member, server, peer, names)
			}
		}
	}
}

func host(t *testing.T, raw string) string {
	t.Helper()
	parsed, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Hostname()
}

// What Pods wait for is what the Job makes, and what it may.
func TestThePrepareJobMakesWhatPodsMount(t *testing.T) {
	for name, values := range valuesSets {
		t.Run(name, func(t *testing.T) {
			objects := render(t, values)
			mounted, made := sets.New[string](), sets.New("from-cert-manager", "etcd-client", "my-key") // by users
			for _, template := range podTemplates(objects) {
				for _, volume := range template.Spec.Volumes {
					if volume.Secret != nil {
						mounted.Insert(volume.Secret.SecretName)
					}
				}
			}
			if podTemplates(objects)["Job muster-prepare"] != nil {
				args := arguments(t, objects, "Job muster-prepare", "prepare")
				for _, argument := range args {
					if flag, value, _ := strings.Cut(argument, "="); strings.HasSuffix(flag, "-secret") {
						made.Insert(value)
					}
				}
				if err := installation.NewPrepareCommand().ParseFlags(args); err != nil {
					t.Error(err)
				}
			}
			if missing := mounted.Difference(made); missing.Len() > 0 {
				t.Errorf("nobody makes %q", sets.List(missing))
			}
			if mounted.Has("muster-etcd-authority") {
				t.Error("the authority's key is in a Pod")
			}
		})
	}
	if err := installation.NewUnregisterCommand().ParseFlags(arguments(t, render(t, ""), "Job muster-uninstall", "unregister")); err != nil {
		t.Error(err)
	}
}

// A backup whose arguments are refused is found out when it is needed.
func TestTheBackupTakesItsArguments(t *testing.T) {
	for name, values := range map[string]string{
		"the chart's etcd": "backup: {enabled: true, keep: 9}",
		"another":          valuesSets["an etcd of one's own"] + "\nbackup: {enabled: true, keep: 9}",
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, values)
			command := backups.NewBackupCommand()
			if err := command.ParseFlags(arguments(t, objects, "CronJob muster-backup", "backup")); err != nil {
				t.Fatal(err)
			}
			for flag, want := range map[string]string{"keep": "9", "dir": "/var/lib/muster-backup", "etcd-cafile": "/etc/muster/etcd/ca.crt"} {
				if got := command.Flags().Lookup(flag).Value.String(); got != want {
					t.Errorf("--%s is %q, want %q", flag, got, want)
				}
			}
			servers, err := command.Flags().GetStringSlice("etcd-servers")
			if err != nil || !slices.Equal(servers, serverOptions(t, values).EtcdClient().Endpoints) {
				t.Errorf("it saves %q (%v), which is not what the server uses", servers, err)
			}
		})
	}
}

// The kubelet gives a volume's root to the Pod's group and leaves it root's, who
// alone could make it private.
func TestDataIsBelowTheVolumesRoot(t *testing.T) {
	objects := render(t, "")
	container := podTemplates(objects)["StatefulSet muster-etcd"].Spec.Containers[0]
	for _, argument := range arguments(t, objects, "StatefulSet muster-etcd", "etcd") {
		dir, ok := strings.CutPrefix(argument, "--data-dir=")
		if ok && !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.Name == "data" && strings.HasPrefix(dir, m.MountPath+"/")
		}) {
			t.Errorf("--data-dir=%s is not below the mount of a volume", dir)
		}
	}
}

// Writable places, for a program whose root file system is not.
func TestWritablePlaces(t *testing.T) {
	container := podTemplates(render(t, ""))["Deployment muster"].Spec.Containers[0]
	for _, path := range []string{"/tmp", "/var/cache/muster"} {
		if !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path && !m.ReadOnly }) {
			t.Errorf("%s cannot be written", path)
		}
	}
}
