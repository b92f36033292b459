// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// startTimeout bounds the start of one process. A kube-apiserver takes 3 s
// with a core to itself; a loaded CI machine many times that.
const startTimeout = 2 * time.Minute

// ControlPlane is a kube-apiserver and, where it has one, its
// kube-controller-manager. It is safe for concurrent use.
type ControlPlane struct {
	name        string
	dir         string
	bin         string
	etcd        string // client URL of the shared etcd
	controllers bool

	servingCA, clientCA, proxyCA *Authority
	api                          *port
	// Proxy stands in front of a managed control plane; nil for the host.
	Proxy *Proxy

	ledger *ledger

	mu         sync.Mutex
	generation int // counts the clusters that lived at this address
	apiserver  *process
	manager    *process
}

// newControlPlane makes keys and kubeconfigs and starts nothing.
func newControlPlane(f *Fleet, name string, behindProxy, controllers bool) (*ControlPlane, error) {
	c := &ControlPlane{
		name:        name,
		dir:         filepath.Join(f.dir, name),
		bin:         f.options.Bin,
		etcd:        f.etcd.endpoint(),
		controllers: controllers,
		ledger:      f.ledger,
	}
	if err := os.MkdirAll(filepath.Join(c.dir, "home"), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of %s: %w", name, err)
	}
	var err error
	if c.api, err = f.reserve(); err != nil {
		return nil, err
	}
	if behindProxy {
		front, err := f.reserve()
		if err != nil {
			return nil, err
		}
		c.Proxy = newProxy(front, c.api.address())
	}
	if err := c.makeKeys(); err != nil {
		return nil, fmt.Errorf("making the keys of %s: %w", name, err)
	}
	return c, c.writeKubeconfigs()
}

// Name is the control plane's name in the fleet.
func (c *ControlPlane) Name() string { return c.name }

// Address is host:port at which everybody reaches the API: the proxy's where
// there is one.
func (c *ControlPlane) Address() string {
	if c.Proxy != nil {
		return c.Proxy.Address()
	}
	return c.api.address()
}

// Dir holds the control plane's keys, kubeconfigs and logs.
func (c *ControlPlane) Dir() string { return c.dir }

// AuditLog is the API server's audit log: JSON lines, without the bodies of
// requests. It survives restarts.
func (c *ControlPlane) AuditLog() string { return filepath.Join(c.dir, "audit.log") }

// CA is the PEM certificate of the authority behind the serving certificate.
func (c *ControlPlane) CA() []byte { return c.servingCA.PEM() }

// PID of the API server, 0 if it does not run.
func (c *ControlPlane) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiserver == nil || !c.apiserver.running() {
		return 0
	}
	return c.apiserver.id.PID
}

// Running says whether the API server's process lives.
func (c *ControlPlane) Running() bool { return c.PID() != 0 }

func (c *ControlPlane) file(name string) string { return filepath.Join(c.dir, name) }

// makeKeys writes the certificates and keys that the processes read. Every
// control plane has authorities of its own, so that one's credentials mean
// nothing to another.
func (c *ControlPlane) makeKeys() error {
	var err error
	for ca, name := range map[**Authority]string{
		&c.servingCA: "serving", &c.clientCA: "clients", &c.proxyCA: "front-proxy",
	} {
		if *ca, err = NewAuthority(c.name + " " + name); err != nil {
			return err
		}
	}
	serving, err := c.servingCA.Issue(Certificate{
		CommonName: "kube-apiserver",
		DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1), serviceIP},
	})
	if err != nil {
		return err
	}
	frontProxy, err := c.proxyCA.Issue(Certificate{CommonName: frontProxyName})
	if err != nil {
		return err
	}
	signing, err := newSigningKey()
	if err != nil {
		return err
	}
	return writeFiles(map[string][]byte{
		c.file("serving-ca.crt"):      c.servingCA.PEM(),
		c.file("client-ca.crt"):       c.clientCA.PEM(),
		c.file("front-proxy-ca.crt"):  c.proxyCA.PEM(),
		c.file("serving.crt"):         serving.Cert,
		c.file("serving.key"):         serving.Key,
		c.file("front-proxy.crt"):     frontProxy.Cert,
		c.file("front-proxy.key"):     frontProxy.Key,
		c.file("service-account.key"): signing,
		c.file("audit-policy.yaml"):   []byte(auditPolicy),
	})
}

func (c *ControlPlane) writeKubeconfigs() error {
	admin := User{Name: "admin", Groups: []string{adminGroup}}
	files := map[string][]byte{}
	for path, of := range map[string]struct {
		address string
		user    User
	}{
		c.KubeconfigFile():           {c.Address(), admin},
		c.DirectKubeconfigFile():     {c.api.address(), admin},
		c.file("manager.kubeconfig"): {c.api.address(), User{Name: "system:kube-controller-manager"}},
	} {
		data, err := c.kubeconfigAt(of.address, of.user)
		if err != nil {
			return err
		}
		files[path] = data
	}
	return writeFiles(files)
}

// start runs the API server until it is ready, opens the proxy, and then
// starts the controller manager, for which nobody has to wait.
func (c *ControlPlane) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.startLocked(ctx)
}

func (c *ControlPlane) startLocked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if c.apiserver != nil && c.apiserver.running() {
		return fmt.Errorf("%s runs already", c.name)
	}
	var err error
	if c.apiserver, err = c.ledger.launch(c.apiserverCommand()); err != nil {
		return err
	}
	if err := c.apiserver.awaitReady(ctx, c.readyz()); err != nil {
		c.apiserver.kill()
		return err
	}
	if c.Proxy != nil {
		if err := c.Proxy.Set(ctx, Forward); err != nil {
			return err
		}
	}
	if c.controllers && (c.manager == nil || !c.manager.running()) {
		c.manager, err = c.ledger.launch(c.managerCommand())
	}
	return err
}

// Kill ends the API server with SIGKILL. From then on its address refuses
// connections. The controller manager, where there is one, keeps trying.
func (c *ControlPlane) Kill(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killLocked(ctx)
}

func (c *ControlPlane) killLocked(ctx context.Context) error {
	if c.apiserver == nil || !c.apiserver.running() {
		return fmt.Errorf("%s does not run", c.name)
	}
	c.apiserver.kill()
	if c.Proxy == nil {
		return nil
	}
	// A proxy that still accepted connections would turn "refused" into
	// "reset", which is not what clients of a dead process see.
	return c.Proxy.Set(ctx, Refuse)
}

// Restart brings the API server back on its data and its address, from
// whatever state it is in, and waits until it is ready.
func (c *ControlPlane) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiserver != nil && c.apiserver.running() {
		if err := c.killLocked(ctx); err != nil {
			return err
		}
	}
	return c.startLocked(ctx)
}

// Replace puts another, empty cluster behind the same address and
// credentials: another etcd prefix, and so another UID of kube-system.
func (c *ControlPlane) Replace(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiserver != nil && c.apiserver.running() {
		if err := c.killLocked(ctx); err != nil {
			return err
		}
	}
	if c.manager != nil {
		c.manager.kill() // its caches are the old cluster's
	}
	c.generation++
	return c.startLocked(ctx)
}

// heal undoes what a test did to it, a replacement apart.
func (c *ControlPlane) heal(ctx context.Context) error {
	if !c.Running() {
		return c.Restart(ctx)
	}
	if c.Proxy == nil {
		return nil
	}
	c.Proxy.Delay(0)
	c.Proxy.rejoin()
	return c.Proxy.Set(ctx, Forward)
}

// stop ends the processes at once. Nothing is lost that anybody needs.
func (c *ControlPlane) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range []*process{c.manager, c.apiserver} {
		if p != nil {
			p.kill()
		}
	}
	if c.Proxy != nil {
		c.Proxy.close()
	}
}

// readyz asks the API server, past the proxy, whether it is ready.
func (c *ControlPlane) readyz() func(context.Context) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.servingCA.PEM())
	return checkTLS("https://"+c.api.address()+"/readyz?verbose", &tls.Config{RootCAs: roots})
}
