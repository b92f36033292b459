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
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
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

// Muster is a Muster server as a process: the shipped ServiceAccount, the
// shipped RBAC, the arguments of the shipped Deployment. It is safe for
// concurrent use.
type Muster struct {
	host    *ControlPlane
	ledger  *ledger
	bin     string
	dir     string
	charts  *Charts
	extra   []string
	port    *port
	shipped *manifests

	mu      sync.Mutex
	process *process
}

func newMuster(f *Fleet) (*Muster, error) {
	m := &Muster{
		host:   f.Host,
		ledger: f.ledger,
		bin:    f.options.Bin,
		dir:    filepath.Join(f.dir, "muster"),
		charts: f.Charts,
		extra:  f.options.MusterArgs,
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making Muster's directory: %w", err)
	}
	var err error
	if m.port, err = f.reserve(); err != nil {
		return nil, err
	}
	root, err := RepositoryRoot()
	if err != nil {
		return nil, err
	}
	if m.shipped, err = loadManifests(filepath.Join(root, "artifacts", "deploy"), m.port.number); err != nil {
		return nil, fmt.Errorf("reading the shipped manifests: %w", err)
	}
	return m, nil
}

// Address is host:port of the server itself, behind the aggregator.
func (m *Muster) Address() string { return m.port.address() }

// DataDir holds Muster's embedded etcd.
func (m *Muster) DataDir() string { return filepath.Join(m.dir, "data") }

// Log is the file that the server logs to.
func (m *Muster) Log() string { return m.command().logFile() }

// LogTail is the end of Log, for the report of a failure.
func (m *Muster) LogTail() string { return tailOf(m.Log(), tailLines) }

// PID of the running server, 0 if it does not run.
func (m *Muster) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.running() {
		return 0
	}
	return m.process.id.PID
}

// Running says whether the server's process lives.
func (m *Muster) Running() bool { return m.PID() != 0 }

// command is where all arguments of the server come together: those that are
// shipped, what a process outside a Pod needs besides, and the caller's.
func (m *Muster) command() command {
	args := append(singleServer(m.shipped.args),
		"--kubeconfig="+filepath.Join(m.dir, "kubeconfig"),
		"--authentication-kubeconfig="+filepath.Join(m.dir, "kubeconfig"),
		"--authorization-kubeconfig="+filepath.Join(m.dir, "kubeconfig"),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", m.port.number),
		"--permit-port-sharing=true",
		"--data-dir="+m.DataDir(),
		// No load balancer has to notice that it goes.
		"--shutdown-delay-duration=0s",
	)
	for from, to := range m.charts.Mirrors() {
		args = append(args, "--chart-mirror="+from+"="+to)
	}
	return command{
		name: "muster",
		path: filepath.Join(m.bin, "muster"),
		args: append(args, m.extra...),
		dir:  m.dir,
	}
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
	token, err := kubectl.Run(ctx, "create", "token", ServiceAccount, "--namespace="+Namespace, "--duration="+tokenLifetime)
	if err != nil {
		return fmt.Errorf("requesting a token for Muster: %w", err)
	}
	data, err := clientcmd.Write(*kubeconfig(hostName, m.host.Address(), m.host.CA(),
		&clientcmdapi.AuthInfo{Token: strings.TrimSpace(token.Stdout)}))
	if err != nil {
		return fmt.Errorf("encoding Muster's kubeconfig: %w", err)
	}
	if err := writeFiles(map[string][]byte{filepath.Join(m.dir, "kubeconfig"): data}); err != nil {
		return err
	}
	return m.Start(ctx)
}

// Start starts the server on its data and waits until its API answers through
// the host's aggregator.
func (m *Muster) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil && m.process.running() {
		return errors.New("muster runs already")
	}
	var err error
	if m.process, err = m.ledger.launch(m.command()); err != nil {
		return err
	}
	aggregated, err := m.aggregated()
	if err == nil {
		err = m.process.awaitReady(ctx, inOrder(m.readyz(), aggregated))
	}
	if err != nil {
		m.process.kill()
	}
	return err
}

// Kill ends the server with SIGKILL, and its workers with it.
func (m *Muster) Kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.running() {
		return errors.New("muster does not run")
	}
	m.process.kill()
	return nil
}

// Stop ends the server with SIGTERM and waits for its orderly end. When ctx
// is done first the server is killed, which is an error.
func (m *Muster) Stop(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.running() {
		return errors.New("muster does not run")
	}
	return m.process.terminate(ctx)
}

// shutdown ends the server, if it runs, in no orderly way.
func (m *Muster) shutdown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		m.process.kill()
	}
}

// readyz asks the server itself. Its certificate is not looked at: the
// aggregator does that.
func (m *Muster) readyz() func(context.Context) error {
	return checkTLS("https://"+m.Address()+"/readyz?verbose", &tls.Config{InsecureSkipVerify: true})
}

// aggregated checks that the host finds every APIService available and that
// its answers really come from there.
func (m *Muster) aggregated() (func(context.Context) error, error) {
	config, err := m.host.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	return func(ctx context.Context) error {
		list, err := client.ApiregistrationV1().APIServices().List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=muster"})
		if err != nil {
			return err
		}
		waiting := sets.New(m.shipped.apiServices...)
		for i := range list.Items {
			service := &list.Items[i]
			if err := available(service); err != nil {
				return err
			}
			path := "/apis/" + service.Spec.Group + "/" + service.Spec.Version
			if err := client.RESTClient().Get().AbsPath(path).Do(ctx).Error(); err != nil {
				return fmt.Errorf("%s through the host: %w", path, err)
			}
			waiting.Delete(service.Name)
		}
		if waiting.Len() > 0 {
			return fmt.Errorf("no APIService %s", strings.Join(sets.List(waiting), ", "))
		}
		return nil
	}, nil
}

func available(service *apiregistrationv1.APIService) error {
	for _, condition := range service.Status.Conditions {
		if condition.Type != apiregistrationv1.Available {
			continue
		}
		if condition.Status == apiregistrationv1.ConditionTrue {
			return nil
		}
		return fmt.Errorf("APIService %s is not available: %s: %s", service.Name, condition.Reason, condition.Message)
	}
	return fmt.Errorf("APIService %s has no condition yet", service.Name)
}

// inOrder makes one check of several, and does not repeat those that have
// succeeded.
func inOrder(checks ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for len(checks) > 0 {
			if err := checks[0](ctx); err != nil {
				return err
			}
			checks = checks[1:]
		}
		return nil
	}
}
