// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"path"

	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/muster-project/muster/pkg/controllers/term"
)

// leaseName is the Lease's name, in Options.Namespace.
const leaseName = "muster"

// Election are the flags of the leader election.
type Election struct {
	// Elect is unset unless the flag was given. Then an external etcd, which
	// others can use too, decides for it.
	Elect cliflag.Tristate
	// Timing is how the Lease is held.
	Timing term.Timing
}

func newElection() Election { return Election{Timing: term.DefaultTiming()} }

func (e *Election) addFlags(fs *pflag.FlagSet) {
	// A boolean flag whose absence can be told.
	fs.VarPF(&e.Elect, "leader-elect", "",
		"Run the controllers only while this replica holds the Lease "+leaseName+" in --namespace of the host cluster. "+
			"Always so with --etcd-servers; a server with its etcd inside is alone and needs none.").NoOptDefVal = "true"
	fs.DurationVar(&e.Timing.LeaseDuration, "leader-elect-lease-duration", e.Timing.LeaseDuration,
		"How long the other replicas wait before they replace a leader that does not renew the Lease: whole seconds. The same in all replicas.")
	fs.DurationVar(&e.Timing.RenewDeadline, "leader-elect-renew-deadline", e.Timing.RenewDeadline,
		"How long the leader tries to renew the Lease before it stops leading. Less than the lease duration.")
	fs.DurationVar(&e.Timing.RetryPeriod, "leader-elect-retry-period", e.Timing.RetryPeriod,
		"How long replicas wait between tries to acquire or renew the Lease.")
}

func (c *completedOptions) validateElection() []error {
	var errs []error
	if c.Election.Elect.Provided() && !c.Elected && !c.EmbeddedEtcd {
		errs = append(errs, errors.New("--leader-elect=false is for a server with its etcd inside: "+
			"nothing else would keep two servers on the etcd of --etcd-servers from working against each other"))
	}
	if err := c.Election.Timing.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("--leader-elect-lease-duration, --leader-elect-renew-deadline, --leader-elect-retry-period: %w", err))
	}
	return errs
}

// GateOptions are those of the write gate that the election opens. Its way to
// the Lease is the host's, which may be behind a proxy and so below a path.
func (c *completedOptions) GateOptions(host *rest.Config) (term.GateOptions, error) {
	if !c.Elected {
		return term.GateOptions{}, nil
	}
	server, api, err := rest.DefaultServerURL(host.Host, "/apis", coordinationv1.SchemeGroupVersion, true)
	if err != nil {
		return term.GateOptions{}, fmt.Errorf("the host cluster's address: %w", err)
	}
	lease := path.Join("/", server.Path, api, "namespaces", c.Namespace, "leases", leaseName)
	return term.GateOptions{Leased: true, LeasePaths: []string{lease}}, nil
}

// NewElector returns the elector of this replica for the runner's terms.
func (c *completedOptions) NewElector(host *rest.Config, replica string, gate *term.Gate, runner *term.Runner) (*term.Elector, error) {
	leases, err := leasesClient(host, replica, gate)
	if err != nil {
		return nil, err
	}
	return term.NewElector(term.ElectorOptions{
		Leases: leases, Namespace: c.Namespace, Name: leaseName,
		Identity: replica, Gate: gate, Runner: runner, Timing: c.Election.Timing,
	})
}

// leasesClient has connections of its own, and with HTTP/1.1 a new one after
// each request that was not answered: with HTTP/2 the next request would wait on
// the same connection, dead as it may be, until the lease is lost.
func leasesClient(host *rest.Config, replica string, gate *term.Gate) (coordinationclient.LeasesGetter, error) {
	config := rest.CopyConfig(host)
	config.UserAgent = "muster/" + replica + " (leader election)"
	config.NextProtos = []string{"http/1.1"}
	config.Wrap(gate.Wrap)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the Lease: %w", err)
	}
	return client.CoordinationV1(), nil
}
