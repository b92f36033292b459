// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// memberAccount and prepareAccount are the ServiceAccounts of etcd's members
	// and of the Job that makes the Secrets.
	memberAccount  = "muster-etcd"
	prepareAccount = "muster-prepare"
)

// mounts are the Secrets that the shipped Pods mount, by where.
func mounts() map[string]string {
	return map[string]string{
		"/etc/muster/etcd":       "muster-etcd-certificates",
		"/etc/muster/encryption": "muster-encryption",
	}
}

// memberPorts are a member's.
type memberPorts struct{ client, peer, health *port }

// newMembers makes the members that the StatefulSet would run: as many, with its
// arguments, on ports of loopback instead of addresses of their own.
func (m *Muster) newMembers(f *Fleet) error {
	var all []memberPorts
	for range m.shipped.members {
		var ports memberPorts
		for _, p := range []**port{&ports.client, &ports.peer, &ports.health} {
			var err error
			if *p, err = f.reserve(); err != nil {
				return err
			}
			if err := (*p).open(); err != nil {
				return err
			}
		}
		all = append(all, ports)
	}
	var clients, peers, named []string
	for i, ports := range all {
		clients, peers = append(clients, ports.client.address()), append(peers, ports.peer.address())
		named = append(named, fmt.Sprintf("%s=https://%s", memberName(i), ports.client.address()))
	}
	var args []string
	for _, argument := range m.shipped.memberArgs {
		args = append(args, m.places(clients, peers).Replace(argument))
	}
	for i, ports := range all {
		m.members = append(m.members, m.newMember(memberName(i), ports, args, named))
	}
	return nil
}

func addressesOf(servers []*Server) []string {
	var addresses []string
	for _, s := range servers {
		addresses = append(addresses, s.Address())
	}
	return addresses
}

func memberName(i int) string { return fmt.Sprintf("muster-etcd-%d", i) }

// places replaces, in arguments, what only means something inside a Pod: the
// members' names, by the addresses of their clients' and peers' ports, and the
// directories that Secrets are mounted to.
func (m *Muster) places(clients, peers []string) *strings.Replacer {
	var pairs []string
	for port, addresses := range map[string][]string{":2379": clients, ":2380": peers} {
		for i, address := range addresses {
			pairs = append(pairs, memberName(i)+".muster-etcd."+Namespace+".svc"+port, address)
		}
	}
	for mount, secret := range mounts() {
		pairs = append(pairs, mount, filepath.Join(m.dir, secret))
	}
	return strings.NewReplacer(pairs...)
}

func (m *Muster) newMember(name string, ports memberPorts, shipped, clients []string) *Server {
	var args []string
	for _, argument := range shipped {
		args = append(args, strings.ReplaceAll(argument, "$(POD_NAME)", name))
	}
	args = append(args,
		"--kubeconfig="+m.kubeconfigOf(memberAccount),
		"--data-dir="+filepath.Join(m.dir, name),
		// Elsewhere members differ by address and not by port.
		"--clients="+strings.Join(clients, ","),
		"--listen-client="+ports.client.address(),
		"--listen-peer="+ports.peer.address(),
		"--listen-health="+ports.health.address(),
	)
	return &Server{
		ledger:  m.ledger,
		command: command{name: name, path: filepath.Join(m.bin, "muster"), args: args, dir: m.dir},
		address: ports.client.address(),
		ready:   checkPlain("http://" + ports.health.address() + m.shipped.memberProbe.HTTPGet.Path),
	}
}

// prepare makes the Secrets as the shipped Job does, and then puts them where
// Pods would have them mounted.
func (m *Muster) prepare(ctx context.Context) error {
	args := append(m.shipped.prepareArgs[:len(m.shipped.prepareArgs):len(m.shipped.prepareArgs)],
		"--kubeconfig="+m.kubeconfigOf(prepareAccount))
	if out, err := exec.CommandContext(ctx, filepath.Join(m.bin, "muster"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("muster prepare: %w: %s", err, strings.TrimSpace(string(out)))
	}
	config, err := m.host.RESTConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of the host: %w", err)
	}
	for _, name := range mounts() {
		secret, err := client.CoreV1().Secrets(Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("what muster prepare should have made: %w", err)
		}
		if err := os.MkdirAll(filepath.Join(m.dir, name), 0o700); err != nil {
			return fmt.Errorf("making the directory of a Secret: %w", err)
		}
		files := map[string][]byte{}
		for key, data := range secret.Data {
			files[filepath.Join(m.dir, name, key)] = data
		}
		if err := writeFiles(files); err != nil {
			return err
		}
	}
	return nil
}
