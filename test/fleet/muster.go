// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	// Namespace is Muster's own in the host cluster.
	Namespace = "projectsveltos"
	// ServiceAccount is Muster's in Namespace.
	ServiceAccount = "muster"
	// tokenLifetime is that of Muster's ServiceAccount token; a fleet that
	// `make up` leaves running renews it no more often than it is restarted.
	tokenLifetime = "8760h"
)

// Muster is Muster as processes: the shipped ServiceAccounts, the shipped RBAC,
// the arguments of what is shipped. It is one server with its etcd inside, or
// several replicas on an etcd of several members behind a round-robin. It is safe
// for concurrent use.
type Muster struct {
	host    *ControlPlane
	ledger  *ledger
	bin     string
	dir     string
	charts  *Charts
	extra   []string
	spare   int   // of the replicas, those at the end that install does not start
	port    *port // what the APIServices lead to
	shipped *manifests

	replicas []*Server // one at least
	members  []*Server // none where etcd is inside
	front    *roundRobin
}

func newMuster(f *Fleet) (*Muster, error) {
	m, err := newEmptyMuster(f)
	if err != nil {
		return nil, err
	}
	root, err := RepositoryRoot()
	if err != nil {
		return nil, err
	}
	if m.shipped, err = loadManifests(filepath.Join(root, "artifacts", "deploy"), m.port.number); err != nil {
		return nil, fmt.Errorf("reading the shipped manifests: %w", err)
	}
	if f.options.Replicas == 0 {
		m.replicas = []*Server{m.newReplica("muster", m.port, m.kubeconfigOf(ServiceAccount), m.singleArgs())}
		return m, nil
	}
	return m, m.newReplicas(f, f.options.Replicas)
}

// newEmptyMuster has a directory and a port, and no processes yet.
func newEmptyMuster(f *Fleet) (*Muster, error) {
	m := &Muster{
		host:   f.Host,
		ledger: f.ledger,
		bin:    f.options.Bin,
		dir:    filepath.Join(f.dir, "muster"),
		charts: f.Charts,
		extra:  f.options.MusterArgs,
		spare:  f.options.Spare,
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making Muster's directory: %w", err)
	}
	var err error
	m.port, err = f.reserve()
	return m, err
}

// newReplicas makes the members and the replicas that the chart would run.
func (m *Muster) newReplicas(f *Fleet, count int) error {
	if err := m.newMembers(f); err != nil {
		return err
	}
	var addresses []string
	for i := range count {
		replica, err := m.newReplicaBehind(f, fmt.Sprintf("muster-%d", i))
		if err != nil {
			return err
		}
		addresses = append(addresses, replica.Address())
		m.replicas = append(m.replicas, replica)
	}
	var err error
	m.front, err = newRoundRobin(m.port, addresses, m.shipped.readiness)
	return err
}

// Replicas are the servers, in the order of their names.
func (m *Muster) Replicas() []*Server { return slices.Clone(m.replicas) }

// Replica is one of the servers, counted from 0.
func (m *Muster) Replica(i int) *Server { return m.replicas[i] }

// Members are the members of the etcd that replicas share; none where it is
// inside the server.
func (m *Muster) Members() []*Server { return slices.Clone(m.members) }

// Member is one of the members, counted from 0.
func (m *Muster) Member(i int) *Server { return m.members[i] }

// Address is host:port behind the aggregator: of the only server itself, or of
// the round-robin in front of several.
func (m *Muster) Address() string { return m.port.address() }

// DataDir holds the embedded etcd of a single server.
func (m *Muster) DataDir() string { return filepath.Join(m.dir, "data") }

// Log is the file that the first server logs to.
func (m *Muster) Log() string { return m.replicas[0].Log() }

// LogTail is the end of every server's log, for the report of a failure.
func (m *Muster) LogTail() string {
	if len(m.replicas) == 1 {
		return m.replicas[0].LogTail()
	}
	var tails []string
	for _, s := range m.servers() {
		tails = append(tails, s.Name()+":\n"+s.LogTail())
	}
	return strings.Join(tails, "\n")
}

// PID of the first server, 0 if it does not run.
func (m *Muster) PID() int { return m.replicas[0].PID() }

// Running says whether the processes of all replicas live.
func (m *Muster) Running() bool {
	return !slices.ContainsFunc(m.replicas, func(s *Server) bool { return !s.Running() })
}

// servers are all processes, those first that others need.
func (m *Muster) servers() []*Server { return slices.Concat(m.members, m.replicas) }

// newReplicaBehind makes one of several replicas, with ways of its own to the host
// and to the members.
func (m *Muster) newReplicaBehind(f *Fleet, name string) (*Server, error) {
	port, err := f.reserve()
	if err != nil {
		return nil, err
	}
	var ways []*Proxy
	var clients []string
	for _, to := range append([]string{m.host.Address()}, addressesOf(m.members)...) {
		front, err := f.reserve()
		if err != nil {
			return nil, err
		}
		ways = append(ways, newProxy(front, to))
		clients = append(clients, front.address())
	}
	var args []string
	for _, argument := range m.shipped.args {
		args = append(args, m.places(clients[1:], nil).Replace(argument))
	}
	s := m.newReplica(name, port, m.kubeconfigOf(name), args)
	s.Host, s.Etcd = ways[0], ways[1:]
	return s, nil
}

// newReplica makes a server with shipped arguments, what a process outside a Pod
// needs besides, and the caller's arguments.
func (m *Muster) newReplica(name string, port *port, kubeconfig string, shipped []string) *Server {
	args := append(shipped[:len(shipped):len(shipped)],
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port.number),
		"--permit-port-sharing=true",
	)
	// Charts of tests are served there; the server's own ports are not looked for.
	args = append(args, "--allow-source-address=127.0.0.1")
	for from, to := range m.charts.Mirrors() {
		args = append(args, "--chart-mirror="+from+"="+to)
	}
	return &Server{
		ledger:  m.ledger,
		command: command{name: name, path: filepath.Join(m.bin, "muster"), args: append(args, m.extra...), dir: m.dir},
		address: port.address(),
		// Its certificate is not looked at: the aggregator does that.
		ready: checkTLS("https://"+port.address()+"/readyz?verbose", &tls.Config{InsecureSkipVerify: true}),
	}
}

// singleArgs are the shipped arguments for a single server.
func (m *Muster) singleArgs() []string {
	return append(singleServer(m.shipped.args),
		"--data-dir="+m.DataDir(),
		// No load balancer has to notice that it goes.
		"--shutdown-delay-duration=0s",
	)
}

// singleServer is args without what belongs to the etcd beside a server, and
// without the key from a Secret that only a Pod has: a single server embeds its
// etcd, which it does without --etcd-servers alone.
func singleServer(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(argument string) bool {
		return strings.HasPrefix(argument, "--etcd-") || strings.HasPrefix(argument, "--encryption-provider-config")
	})
}

// install registers Muster in the host as a user would, and starts it.
func (m *Muster) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	manifests, err := m.shipped.yaml()
	if err != nil {
		return err
	}
	kubectl := m.host.Kubectl()
	if _, err := kubectl.Input(ctx, manifests, "apply", "--server-side", "-f", "-"); err != nil {
		return fmt.Errorf("applying the shipped manifests: %w", err)
	}
	if err := m.identify(ctx, ServiceAccount, m.kubeconfigOf(ServiceAccount), m.host.Address()); err != nil {
		return err
	}
	if len(m.members) > 0 {
		if err := m.startAround(ctx); err != nil {
			return err
		}
	}
	return m.start(ctx, m.replicas[:len(m.replicas)-m.spare])
}

// startAround starts what several replicas need: members, ways, a round-robin.
func (m *Muster) startAround(ctx context.Context) error {
	if err := m.startMembers(ctx); err != nil {
		return err
	}
	for _, replica := range m.replicas {
		if err := m.identify(ctx, ServiceAccount, m.kubeconfigOf(replica.Name()), replica.Host.Address()); err != nil {
			return err
		}
		if err := replica.openWays(ctx); err != nil {
			return err
		}
	}
	return m.front.start(ctx)
}

// startMembers makes what members need, and starts them beside each other: the
// first is ready when a majority is there.
func (m *Muster) startMembers(ctx context.Context) error {
	for _, account := range []string{memberAccount, prepareAccount} {
		if err := m.identify(ctx, account, m.kubeconfigOf(account), m.host.Address()); err != nil {
			return err
		}
	}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, member := range m.members {
		group.Go(func() error { return member.Start(ctx) })
	}
	return group.Wait()
}

// identify writes a kubeconfig with a token of a ServiceAccount, which finds the
// host at that address.
func (m *Muster) identify(ctx context.Context, account, file, address string) error {
	token, err := m.host.Kubectl().Run(ctx, "create", "token", account, "--namespace="+Namespace, "--duration="+tokenLifetime)
	if err != nil {
		return fmt.Errorf("requesting a token for %s: %w", account, err)
	}
	data, err := clientcmd.Write(*kubeconfig(hostName, address, m.host.CA(),
		&clientcmdapi.AuthInfo{Token: strings.TrimSpace(token.Stdout)}))
	if err != nil {
		return fmt.Errorf("encoding the kubeconfig of %s: %w", account, err)
	}
	return writeFiles(map[string][]byte{file: data})
}

// kubeconfigOf is the file for a ServiceAccount, or for a replica.
func (m *Muster) kubeconfigOf(user string) string {
	if user == ServiceAccount {
		return filepath.Join(m.dir, "kubeconfig")
	}
	return filepath.Join(m.dir, user+".kubeconfig")
}

// Start starts every replica that does not run, on its data, and waits until the
// API answers through the host's aggregator. It is an error if all run.
func (m *Muster) Start(ctx context.Context) error {
	if m.Running() {
		return errors.New("muster runs already")
	}
	return m.start(ctx, m.replicas)
}

// start starts those of replicas that do not run.
func (m *Muster) start(ctx context.Context, replicas []*Server) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, replica := range replicas {
		if replica.Running() {
			continue
		}
		aggregated, err := m.aggregated()
		if err != nil {
			return err
		}
		group.Go(func() error { return replica.startUntil(ctx, inOrder(replica.ready, aggregated)) })
	}
	return group.Wait()
}

// Kill ends every replica that runs with SIGKILL, and its workers with it.
func (m *Muster) Kill() error {
	return m.eachRunning(func(s *Server) error { return s.Kill() })
}

// Stop ends every replica that runs with SIGTERM and waits for their orderly
// end. When ctx is done first they are killed, which is an error.
func (m *Muster) Stop(ctx context.Context) error {
	return m.eachRunning(func(s *Server) error { return s.Stop(ctx) })
}

// eachRunning does something to all replicas that run, at once. It is an error
// if none does.
func (m *Muster) eachRunning(do func(*Server) error) error {
	var group errgroup.Group
	found := false
	for _, replica := range m.replicas {
		if replica.Running() {
			found = true
			group.Go(func() error { return do(replica) })
		}
	}
	if !found {
		return errors.New("muster does not run")
	}
	return group.Wait()
}

// heal brings back every process that was ended or paused.
func (m *Muster) heal(ctx context.Context) error {
	for _, servers := range [][]*Server{m.members, m.replicas} {
		group, ctx := errgroup.WithContext(ctx)
		for _, s := range servers {
			group.Go(func() error { return s.heal(ctx) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	aggregated, err := m.aggregated()
	if err != nil {
		return err
	}
	return poll(ctx, nil, aggregated)
}

// shutdown ends everything of Muster that runs, in no orderly way.
func (m *Muster) shutdown() {
	if m.front != nil {
		m.front.stop()
	}
	for _, s := range m.servers() {
		s.shutdown()
	}
}
