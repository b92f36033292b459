// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/apiserver/serving"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/pkg/storage/etcd"
)

// complete parses flags as the command does.
func complete(t *testing.T, args ...string) (CompletedOptions, error) {
	t.Helper()
	o := New()
	sections := o.Flags()
	all := pflag.NewFlagSet("muster", pflag.ContinueOnError)
	for _, section := range sections.FlagSets {
		all.AddFlagSet(section)
	}
	if err := all.Parse(args); err != nil {
		t.Fatalf("parse %v: %v", args, err)
	}
	return o.Complete()
}

func mustComplete(t *testing.T, args ...string) CompletedOptions {
	t.Helper()
	c, err := complete(t, args...)
	if err != nil {
		t.Fatalf("complete %v: %v", args, err)
	}
	return c
}

func TestDefaultsAreThoseOfASingleServer(t *testing.T) {
	c := mustComplete(t)
	if !c.EmbeddedEtcd || !c.ManagedCertificate {
		t.Errorf("embedded etcd: %v, managed certificate: %v", c.EmbeddedEtcd, c.ManagedCertificate)
	}
	if c.Prefix() != "/registry/muster/default" {
		t.Errorf("prefix is %s", c.Prefix())
	}
	if want := (serving.Service{Namespace: "projectsveltos", Name: "muster"}); c.Service() != want {
		t.Errorf("service is %s", c.Service())
	}
	if c.Recommended.Features.EnableProfiling {
		t.Error("profiling is on")
	}
	if c.Recommended.SecureServing.BindPort < 1024 {
		t.Errorf("port %d needs privileges", c.Recommended.SecureServing.BindPort)
	}
}

func TestPrefix(t *testing.T) {
	for want, args := range map[string][]string{
		"/registry/muster/blue": {"--installation=blue"},
		"/elsewhere/x":          {"--etcd-prefix=/elsewhere/x/"},
		"/relative":             {"--etcd-prefix=relative", "--installation=blue"},
	} {
		if got := mustComplete(t, args...).Prefix(); got != want {
			t.Errorf("%v: prefix is %s, want %s", args, got, want)
		}
	}
}

// One kubeconfig is enough; who wants others for delegation may give them.
func TestHostKubeconfig(t *testing.T) {
	c := mustComplete(t, "--kubeconfig=host", "--authorization-kubeconfig=other")
	if got := c.Recommended.Authentication.RemoteKubeConfigFile; got != "host" {
		t.Errorf("authentication is delegated through %q", got)
	}
	if got := c.Recommended.Authorization.RemoteKubeConfigFile; got != "other" {
		t.Errorf("authorization is delegated through %q", got)
	}
	if _, err := c.HostConfig(); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("a kubeconfig that does not exist: %v", err)
	}
}

func TestExternalEtcd(t *testing.T) {
	c := mustComplete(t, "--etcd-servers=https://a:2379,https://b:2379", "--etcd-certfile=c", "--etcd-keyfile=k", "--etcd-cafile=ca", "--data-dir=")
	if c.EmbeddedEtcd {
		t.Error("etcd is embedded beside an external one")
	}
	want := etcd.ClientConfig{Endpoints: []string{"https://a:2379", "https://b:2379"}, CertFile: "c", KeyFile: "k", CAFile: "ca"}
	if diff := cmp.Diff(want, c.EtcdClient()); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
}

func TestEmbeddedEtcdIsUsedWhereItListens(t *testing.T) {
	c := mustComplete(t)
	c.UseEtcd("unix:///tmp/x")
	if diff := cmp.Diff([]string{"unix:///tmp/x"}, c.EtcdClient().Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

func TestElection(t *testing.T) {
	const external = "--etcd-servers=https://a:2379"
	for name, test := range map[string]struct {
		args    []string
		elected bool
	}{
		"a single server":                 {nil, false},
		"a single server with a Lease":    {[]string{"--leader-elect"}, true},
		"a single server without":         {[]string{"--leader-elect=false"}, false},
		"one of several":                  {[]string{external}, true},
		"one of several, said explicitly": {[]string{external, "--leader-elect=true"}, true},
		"one of several, somewhere else":  {[]string{external, "--namespace=fleet"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustComplete(t, test.args...)
			if c.Elected != test.elected {
				t.Errorf("elected: %v, want %v", c.Elected, test.elected)
			}
			for host, base := range map[string]string{"https://host:6443": "", "https://proxy/k8s/clusters/c-1/": "/k8s/clusters/c-1", "host": ""} {
				gate, err := c.GateOptions(&rest.Config{Host: host})
				if err != nil || gate.Leased != test.elected {
					t.Errorf("%s: the gate is leased: %v (%v), want %v", host, gate.Leased, err, test.elected)
				}
				if want := base + "/apis/coordination.k8s.io/v1/namespaces/" + c.Namespace + "/leases/muster"; test.elected && !slices.Equal(gate.LeasePaths, []string{want}) {
					t.Errorf("%s: the gate lets writes to %s through, want %s", host, gate.LeasePaths, want)
				}
			}
		})
	}
	if got := mustComplete(t).Election.Timing; got != (term.Timing{LeaseDuration: 5 * time.Second, RenewDeadline: 3500 * time.Millisecond, RetryPeriod: 500 * time.Millisecond}) {
		t.Errorf("the timing is %+v", got)
	}
}

func TestGivenCertificatesAreNotManaged(t *testing.T) {
	if c := mustComplete(t, "--tls-cert-file=c", "--tls-private-key-file=k"); c.ManagedCertificate {
		t.Error("a certificate from files is managed")
	}
}

func TestServingNames(t *testing.T) {
	tests := map[string]struct {
		args []string
		want []string
	}{
		"default": {want: []string{"muster.projectsveltos.svc", "muster.projectsveltos.svc.cluster.local", "localhost", "127.0.0.1", "::1"}},
		"everything": {
			args: []string{"--namespace=fleet", "--service-name=api", "--external-hostname=muster.example.org:8443", "--bind-address=10.1.2.3"},
			want: []string{"api.fleet.svc", "api.fleet.svc.cluster.local", "localhost", "127.0.0.1", "::1", "muster.example.org", "10.1.2.3"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, mustComplete(t, test.args...).ServingNames()); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
	advertised := mustComplete(t)
	advertised.ServerRun.AdvertiseAddress = net.ParseIP("10.9.9.9")
	if !slices.Contains(advertised.ServingNames(), "10.9.9.9") {
		t.Error("the advertised address is not among them")
	}
}

// Our own namespace is read whatever is listed: without it no cluster could be
// registered where Muster is.
func TestReach(t *testing.T) {
	if all := mustComplete(t).Reach(); all != nil {
		t.Errorf("by default only %q are read", all)
	}
	got := mustComplete(t, "--source-namespaces=b,a", "--source-namespaces=b", "--namespace=m").Reach()
	if diff := cmp.Diff(reach.Namespaces{"a", "b", "m"}, got); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

func TestMirrors(t *testing.T) {
	c := mustComplete(t, "--chart-mirror=https://charts.example.org=http://127.0.0.1:8080/m", "--chart-mirror=oci://a/b=oci://c/d")
	if got := c.Mirrors.Resolve("https://charts.example.org/index.yaml"); got != "http://127.0.0.1:8080/m/index.yaml" {
		t.Errorf("resolved to %s", got)
	}
	if got := c.Mirrors.Resolve("oci://a/b/chart"); got != "oci://c/d/chart" {
		t.Errorf("resolved to %s", got)
	}
}

func TestSourceAddresses(t *testing.T) {
	c := mustComplete(t, "--allow-source-address=127.0.0.1,169.254.1.0/24", "--forbid-source-address=10.0.0.0/8")
	for address, ok := range map[string]bool{"127.0.0.1": true, "127.0.0.2": false, "169.254.1.7": true, "169.254.169.254": false, "10.1.1.1": false, "11.1.1.1": true} {
		if err := c.Addresses.Check(netip.MustParseAddr(address), false); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestWhatCannotBeObeyedIsRefused(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no data directory":         {args: []string{"--data-dir="}, want: "--data-dir"},
		"the host's prefix":         {args: []string{"--etcd-prefix=/registry"}, want: "kube-apiserver"},
		"the root":                  {args: []string{"--etcd-prefix=/"}, want: "--etcd-prefix"},
		"several etcds":             {args: []string{"--etcd-servers-overrides=/x#http://a"}, want: "--etcd-servers-overrides"},
		"protobuf":                  {args: []string{"--storage-media-type=application/vnd.kubernetes.protobuf"}, want: "--storage-media-type"},
		"a certificate's directory": {args: []string{"--cert-dir=/x"}, want: "--tls-cert-file"},
		"a namespace":               {args: []string{"--namespace=Fleet"}, want: "--namespace"},
		"a source namespace":        {args: []string{"--source-namespaces=a,Fleet"}, want: `--source-namespaces has "Fleet"`},
		"an empty source namespace": {args: []string{"--source-namespaces=a,,b"}, want: "--source-namespaces"},
		"a service":                 {args: []string{"--service-name="}, want: "--service-name"},
		"an installation":           {args: []string{"--installation=a/b"}, want: "--installation"},
		"a history":                 {args: []string{"--revision-history-limit=0"}, want: "--revision-history-limit 0"},
		"a mirror":                  {args: []string{"--chart-mirror=x"}, want: "--chart-mirror"},
		"an allowed address":        {args: []string{"--allow-source-address=localhost"}, want: "--allow-source-address"},
		"a forbidden range":         {args: []string{"--forbid-source-address=10.0.0.0/99"}, want: "--forbid-source-address"},
		"a generic flag":            {args: []string{"--shutdown-delay-duration=-1s"}, want: "shutdown-delay-duration"},
		"no election":               {args: []string{"--etcd-servers=https://a:2379", "--leader-elect=false"}, want: "--leader-elect=false"},
		"a lease of half a second":  {args: []string{"--leader-elect-lease-duration=4500ms"}, want: "whole number of seconds"},
		"a short lease":             {args: []string{"--leader-elect-lease-duration=3s"}, want: "renew deadline"},
		"an endless lease":          {args: []string{"--leader-elect-lease-duration=1h"}, want: "lease duration"},
		"a late retry":              {args: []string{"--leader-elect-retry-period=3s"}, want: "retry period"},
		"an admission plugin":       {args: []string{"--disable-admission-plugins=Nope"}, want: "Nope"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := complete(t, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one about %s", err, test.want)
			}
		})
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	_, err := complete(t, "--namespace=Fleet", "--chart-mirror=x", "--etcd-prefix=/registry")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--namespace", "--chart-mirror", "--etcd-prefix"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
}

// A flag in the help text does something.
func TestFlagsWithoutAnEffectAreNotShown(t *testing.T) {
	sections := New().Flags()
	shown := map[string]bool{}
	for _, section := range sections.FlagSets {
		section.VisitAll(func(flag *pflag.Flag) { shown[flag.Name] = !flag.Hidden && flag.Deprecated == "" })
	}
	for _, name := range []string{"cert-dir", "etcd-servers-overrides", "storage-media-type", "storage-backend", "default-watch-cache-size"} {
		if shown[name] {
			t.Errorf("--%s is shown", name)
		}
	}
	for _, name := range []string{
		"source-namespaces", "kubeconfig", "data-dir", "etcd-servers", "installation", "namespace", "chart-mirror", "allow-source-address", "forbid-source-address", "encryption-provider-config",
		"audit-policy-file", "leader-elect", "leader-elect-lease-duration", "shutdown-delay-duration", "logging-format", "feature-gates", "max-requests-inflight",
	} {
		if !shown[name] {
			t.Errorf("--%s is not shown", name)
		}
	}
}

// TestTheLeaseIsReachedThroughAClosedGate: or nobody could ever lead. The first
// holder waits as long as a former one's lease might run.
func TestTheLeaseIsReachedThroughAClosedGate(t *testing.T) {
	var requests []string
	created := make(chan struct{})
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Get("watch") == "" { // it may come at any time
			requests = append(requests, req.Method+" "+req.URL.Path+" "+req.UserAgent())
		}
		w.Header().Set("Content-Type", "application/json")
		if req.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
			return
		}
		_, _ = io.Copy(io.Discard, req.Body) // or the client's going would not be noticed
		close(created)
		<-req.Context().Done()
	}))
	defer host.Close()
	c := mustComplete(t, "--etcd-servers=https://a:2379")
	config := &rest.Config{Host: host.URL + "/base"}
	gateOptions, err := c.GateOptions(config)
	if err != nil {
		t.Fatal(err)
	}
	gate := term.NewGate(gateOptions)
	elector, err := c.NewElector(config, "replica", gate, term.NewRunner(term.RunnerOptions{Gate: gate}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- elector.Run(ctx) }()
	<-created
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	host.Close()
	const leases, agent = "/base/apis/coordination.k8s.io/v1/namespaces/projectsveltos/leases", " muster/replica (leader election)"
	if want := []string{"GET " + leases + "/muster" + agent, "POST " + leases + agent}; !slices.Equal(requests, want) {
		t.Errorf("requests %q, want %q", requests, want)
	}
}
