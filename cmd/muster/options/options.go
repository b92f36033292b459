// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package options turns flags into the configuration of the server.
package options

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/muster-project/muster/cmd/muster/hostcluster"
	"github.com/muster-project/muster/pkg/apiserver/permits"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/apiserver/serving"
	"github.com/muster-project/muster/pkg/controllers/reach"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/egress"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/records"
)

const (
	// defaultPort needs no privileges; a Service maps 443 to it.
	defaultPort = 8443

	// etcdMediaType is the only one that our types can be encoded in.
	etcdMediaType = runtime.ContentTypeJSON
)

// Options are the flags of the server.
type Options struct {
	Recommended *genericoptions.RecommendedOptions
	ServerRun   *genericoptions.ServerRunOptions
	Logs        *logsapi.LoggingConfiguration

	// DataDir is where the embedded etcd keeps its data.
	DataDir string
	// Installation tells several of them in one etcd apart.
	Installation string
	// Namespace of the host holds what Muster makes there.
	Namespace string
	// ServiceName is the Service, in that namespace, that the APIServices lead to.
	ServiceName string
	// SourceNamespaces are the namespaces of the host, beside Namespace, whose
	// ConfigMaps and Secrets are read. None means all.
	SourceNamespaces []string
	// ChartMirrors are "from=to" URLs.
	ChartMirrors []string
	// AllowSourceAddresses and ForbidSourceAddresses are addresses, or ranges of them,
	// that sources are fetched from or not.
	AllowSourceAddresses, ForbidSourceAddresses []string
	// RevisionHistoryLimit is how many revisions of each profile are kept.
	RevisionHistoryLimit int
	// Election decides which replica leads.
	Election Election
}

// New returns options with their defaults.
func New() *Options {
	o := &Options{
		Recommended:  genericoptions.NewRecommendedOptions("", scheme.StorageCodec()),
		ServerRun:    genericoptions.NewServerRunOptions(),
		Logs:         logsapi.NewLoggingConfiguration(),
		DataDir:      "/var/lib/muster",
		Installation: "default",
		Namespace:    "projectsveltos",
		ServiceName:  "muster",
		Election:     newElection(),

		RevisionHistoryLimit: history.DefaultLimit,
	}
	o.Recommended.Etcd.StorageConfig.EncodeVersioner = scheme.StorageVersions
	o.Recommended.SecureServing.BindPort = defaultPort
	o.Recommended.SecureServing.ServerCert.CertDirectory = ""
	o.Recommended.Features.EnableProfiling = false
	return o
}

// Flags returns all flags, in sections for the help text.
func (o *Options) Flags() cliflag.NamedFlagSets {
	var sections cliflag.NamedFlagSets
	o.addOwnFlags(sections.FlagSet("muster"))
	o.Election.addFlags(sections.FlagSet("leader election"))
	o.ServerRun.AddUniversalFlags(sections.FlagSet("server"))
	r := o.Recommended
	r.Etcd.AddFlags(sections.FlagSet("etcd"))
	r.SecureServing.AddFlags(sections.FlagSet("secure serving"))
	r.CoreAPI.AddFlags(sections.FlagSet("host cluster"))
	r.Authentication.AddFlags(sections.FlagSet("authentication"))
	r.Authorization.AddFlags(sections.FlagSet("authorization"))
	r.Audit.AddFlags(sections.FlagSet("audit"))
	r.Admission.AddFlags(sections.FlagSet("admission"))
	r.Features.AddFlags(sections.FlagSet("features"))
	r.EgressSelector.AddFlags(sections.FlagSet("egress"))
	r.Traces.AddFlags(sections.FlagSet("tracing"))
	logsapi.AddFlags(o.Logs, sections.FlagSet("logs"))

	adjustFlags(&sections)
	return sections
}

func (o *Options) addOwnFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.DataDir, "data-dir", o.DataDir,
		"Directory of the embedded etcd, which runs unless --etcd-servers names another. It belongs to one server alone.")
	fs.StringVar(&o.Installation, "installation", o.Installation,
		"Name that tells installations in one etcd apart. Keys begin with "+records.Root+"/<installation>, unless --etcd-prefix says otherwise.")
	fs.StringVar(&o.Namespace, "namespace", o.Namespace,
		"Namespace of the host cluster for what Muster makes there: the Secret with its serving certificate, the Lease. It has to exist.")
	fs.StringVar(&o.ServiceName, "service-name", o.ServiceName,
		"Service in that namespace that Muster's APIServices lead to. Muster serves a certificate for it and keeps their caBundle.")
	fs.StringSliceVar(&o.SourceNamespaces, "source-namespaces", o.SourceNamespaces,
		"Namespaces of the host cluster, comma separated, whose Secrets (kubeconfigs of clusters, sources of add-ons) and ConfigMaps are read, beside --namespace. "+
			"Clusters and sources in others are out of reach. Without it all are read, which takes the right to do so.")
	fs.StringArrayVar(&o.ChartMirrors, "chart-mirror", o.ChartMirrors,
		"Fetch charts, archives and artifacts from another place: from=to, two URLs, where everything below the first is found below the second. May be given more than once.")
	fs.StringSliceVar(&o.AllowSourceAddresses, "allow-source-address", o.AllowSourceAddresses,
		"Addresses or ranges of them, comma separated, that charts, archives and artifacts are fetched from although that is forbidden otherwise: loopback, link-local addresses and those where clouds serve credentials.")
	fs.StringSliceVar(&o.ForbidSourceAddresses, "forbid-source-address", o.ForbidSourceAddresses,
		"Addresses or ranges of them, comma separated, that nothing is fetched from, mirrors excepted.")
	fs.IntVar(&o.RevisionHistoryLimit, "revision-history-limit", o.RevisionHistoryLimit,
		"How many revisions of each profile are kept in its history, 1 to 1000. Those that clusters still have are kept beside them.")
}

// adjustFlags corrects what the generic server says about flags that mean less
// here: no flag that does nothing is shown.
func adjustFlags(sections *cliflag.NamedFlagSets) {
	for section, names := range map[string][]string{
		// The certificate is in a Secret of the host, and never in files that
		// this process wrote.
		"secure serving": {"cert-dir"},
		"etcd":           {"etcd-servers-overrides", "storage-media-type", "storage-backend"},
	} {
		for _, name := range names {
			if flag := sections.FlagSet(section).Lookup(name); flag != nil {
				flag.Hidden = true
			}
		}
	}
	if flag := sections.FlagSet("etcd").Lookup("etcd-servers"); flag != nil {
		flag.Usage = "List of etcd servers to connect with (scheme://ip:port), comma separated. Without it etcd runs inside this process."
	}
	if flag := sections.FlagSet("etcd").Lookup("etcd-prefix"); flag != nil {
		flag.Usage = "The prefix to prepend to all resource paths in etcd. The default comes from --installation."
	}
	if flag := sections.FlagSet("host cluster").Lookup("kubeconfig"); flag != nil {
		flag.Usage = "kubeconfig file of the host cluster. Without it the ServiceAccount of the Pod is used."
	}
}

// completedOptions are options whose defaults depend on other options.
type completedOptions struct {
	*Options

	// Mirrors are the parsed ChartMirrors.
	Mirrors render.Mirrors
	// Addresses are those that sources are fetched from.
	Addresses egress.Policy
	// Certificate says whether Muster makes its serving certificate itself.
	ManagedCertificate bool
	// EmbeddedEtcd says whether etcd runs inside this process.
	EmbeddedEtcd bool
	// Elected says whether controllers run only while this replica has the
	// Lease.
	Elected bool
}

// CompletedOptions are options that can be used. There is no other way to them
// than Complete.
type CompletedOptions struct {
	*completedOptions
}

// Complete fills in what follows from other options, and validates all of them.
// Its error names every flag that is wrong.
func (o *Options) Complete() (CompletedOptions, error) {
	c := &completedOptions{
		Options:            o,
		ManagedCertificate: o.Recommended.SecureServing.ServerCert.CertKey.CertFile == "" && o.Recommended.SecureServing.ServerCert.CertKey.KeyFile == "",
		EmbeddedEtcd:       len(o.Recommended.Etcd.StorageConfig.Transport.ServerList) == 0,
	}
	c.Elected = o.Election.Elect.Value() || !o.Election.Elect.Provided() && !c.EmbeddedEtcd
	r := o.Recommended
	r.Etcd.StorageConfig.Prefix = cmp.Or(r.Etcd.StorageConfig.Prefix, path.Join(records.Root, o.Installation))
	host := r.CoreAPI.CoreAPIKubeconfigPath
	r.Authentication.RemoteKubeConfigFile = cmp.Or(r.Authentication.RemoteKubeConfigFile, host)
	r.Authorization.RemoteKubeConfigFile = cmp.Or(r.Authorization.RemoteKubeConfigFile, host)

	var err error
	if c.Mirrors, err = render.ParseMirrors(o.ChartMirrors); err != nil {
		err = fmt.Errorf("--chart-mirror: %w", err)
	}
	if err := utilerrors.NewAggregate(append(c.validate(), err, c.parseAddresses())); err != nil {
		return CompletedOptions{}, err
	}
	return CompletedOptions{c}, nil
}

// parseAddresses reads the flags about the addresses of sources.
func (c *completedOptions) parseAddresses() error {
	var errs [2]error
	if c.Addresses.Allow, errs[0] = egress.ParsePrefixes(c.AllowSourceAddresses); errs[0] != nil {
		errs[0] = fmt.Errorf("--allow-source-address: %w", errs[0])
	}
	if c.Addresses.Forbid, errs[1] = egress.ParsePrefixes(c.ForbidSourceAddresses); errs[1] != nil {
		errs[1] = fmt.Errorf("--forbid-source-address: %w", errs[1])
	}
	return errors.Join(errs[:]...)
}

func (c *completedOptions) validate() []error {
	r := c.Recommended
	etcdOptions := *r.Etcd
	if c.EmbeddedEtcd {
		// Where it will listen is known when it runs.
		etcdOptions.StorageConfig.Transport.ServerList = []string{"unix://embedded"}
	}
	return slices.Concat(
		c.validateOwn(), c.validateStorage(), c.validateElection(), etcdOptions.Validate(), c.ServerRun.Validate(),
		r.SecureServing.Validate(), r.Authentication.Validate(), r.Authorization.Validate(), r.Audit.Validate(),
		r.Features.Validate(), r.CoreAPI.Validate(), r.Admission.Validate(), r.EgressSelector.Validate(), r.Traces.Validate(),
	)
}

func (c *completedOptions) validateOwn() []error {
	var errs []error
	if c.EmbeddedEtcd && c.DataDir == "" {
		errs = append(errs, errors.New("--data-dir must be set where etcd runs inside this process (without --etcd-servers)"))
	}
	if c.Recommended.SecureServing.ServerCert.CertDirectory != "" {
		errs = append(errs, errors.New("--cert-dir is not used: Muster keeps its certificate in a Secret of the host; give your own with --tls-cert-file and --tls-private-key-file"))
	}
	if c.RevisionHistoryLimit < 1 || c.RevisionHistoryLimit > 1000 {
		errs = append(errs, fmt.Errorf("--revision-history-limit %d: must be from 1 to 1000", c.RevisionHistoryLimit))
	}
	for _, named := range []struct{ flag, value string }{
		{"namespace", c.Namespace}, {"service-name", c.ServiceName}, {"installation", c.Installation},
	} {
		if problems := validation.NameIsDNSLabel(named.value, false); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--%s %q: %s", named.flag, named.value, strings.Join(problems, ", ")))
		}
	}
	for _, name := range c.SourceNamespaces {
		if problems := validation.NameIsDNSLabel(name, false); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--source-namespaces has %q: %s", name, strings.Join(problems, ", ")))
		}
	}
	return errs
}

// validateStorage refuses what the generic server would take and we would not
// obey.
func (c *completedOptions) validateStorage() []error {
	var errs []error
	e := c.Recommended.Etcd
	if prefix := path.Clean("/" + e.StorageConfig.Prefix); prefix == "/" || prefix == "/registry" {
		errs = append(errs, fmt.Errorf("--etcd-prefix %q would mix our keys with a kube-apiserver's; choose one below %s", e.StorageConfig.Prefix, records.Root))
	}
	if len(e.EtcdServersOverrides) > 0 {
		errs = append(errs, errors.New("--etcd-servers-overrides is not possible: selections need all objects in one etcd"))
	}
	if e.DefaultStorageMediaType != etcdMediaType {
		errs = append(errs, fmt.Errorf("--storage-media-type has to be %s", etcdMediaType))
	}
	return errs
}

// Prefix is where all keys of this installation begin.
func (c *completedOptions) Prefix() string {
	return path.Clean("/" + c.Recommended.Etcd.StorageConfig.Prefix)
}

// Service is the one that our APIServices lead to.
func (c *completedOptions) Service() serving.Service {
	return serving.Service{Namespace: c.Namespace, Name: c.ServiceName}
}

// Reach are the namespaces of the host that controllers read: those listed and
// our own.
func (c *completedOptions) Reach() reach.Namespaces {
	if len(c.SourceNamespaces) == 0 {
		return nil
	}
	namespaces := append(slices.Clone(c.SourceNamespaces), c.Namespace)
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// ServingNames are the names that clients may call us by: the aggregator by the
// Service's, the rest for whoever is on the same machine or was told another.
func (c *completedOptions) ServingNames() []string {
	service := c.ServiceName + "." + c.Namespace + ".svc"
	names := []string{service, service + ".cluster.local", "localhost", "127.0.0.1", "::1"}
	if host := c.ServerRun.ExternalHost; host != "" {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		names = append(names, host)
	}
	for _, ip := range []net.IP{c.ServerRun.AdvertiseAddress, c.Recommended.SecureServing.BindAddress} {
		if ip != nil && !ip.IsUnspecified() {
			names = append(names, ip.String())
		}
	}
	return names
}

// HostConfig reaches the host cluster.
func (c *completedOptions) HostConfig() (*rest.Config, error) {
	config, err := hostcluster.Config(c.Recommended.CoreAPI.CoreAPIKubeconfigPath)
	if err != nil {
		return nil, err
	}
	// The host has priority and fairness; a second limit here would only delay.
	config.QPS = -1
	return config, nil
}

// UseEtcd makes the server use the etcd that has been started for it.
func (c *completedOptions) UseEtcd(endpoint string) {
	c.Recommended.Etcd.StorageConfig.Transport.ServerList = []string{endpoint}
}

// EtcdClient is how to reach the etcd that the server uses.
func (c *completedOptions) EtcdClient() etcd.ClientConfig {
	transport := c.Recommended.Etcd.StorageConfig.Transport
	return etcd.ClientConfig{
		Endpoints: transport.ServerList,
		CertFile:  transport.CertFile, KeyFile: transport.KeyFile, CAFile: transport.TrustedCAFile,
	}
}

// ApplyTo writes the options into a server's configuration. It connects to the
// host cluster, and opens the port.
func (c *completedOptions) ApplyTo(config *genericapiserver.RecommendedConfig) error {
	// First, because it sets the version and feature gates that the rest reads.
	if err := c.ServerRun.ApplyTo(&config.Config); err != nil {
		return fmt.Errorf("apply the server's options: %w", err)
	}
	r := *c.Recommended
	authorization := *r.Authorization
	// What the host allows is remembered by Permits, and not twice.
	authorization.AllowCacheTTL, authorization.DenyCacheTTL = 0, 0
	r.Authorization = &authorization
	if err := r.ApplyTo(config); err != nil {
		return fmt.Errorf("configure the API server: %w", err)
	}
	return nil
}

// Permits are how long answers of the host's authorizer are good.
func (c *completedOptions) Permits() permits.Options {
	return permits.Options{Allowed: c.Recommended.Authorization.AllowCacheTTL, Refused: c.Recommended.Authorization.DenyCacheTTL}
}
