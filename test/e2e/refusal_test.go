// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/muster-project/muster/pkg/apiserver/hostrights"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/test/fleet"
)

// refusedStart is a server that must not start. It runs beside the one that
// serves, on the same host.
type refusedStart struct {
	name string
	// user is who it is on the host; administrator of this name if without groups
	// and not nobody.
	user fleet.User
	args []string
	says []string
}

// serverCommand prepares bin/muster as a user of a control plane.
func serverCommand(ctx context.Context, t *testing.T, root string, host *fleet.ControlPlane, user fleet.User, args ...string) *exec.Cmd {
	t.Helper()
	data, err := host.Kubeconfig(user)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeFile(t, kubeconfig, string(data))
	return exec.CommandContext(ctx, filepath.Join(root, "bin", "muster"), append([]string{
		"server", "--bind-address=127.0.0.1", "--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
	}, args...)...)
}

// refuse runs the server to its end: it says why in one sentence, and has written
// nothing to the host.
func (r refusedStart) refuse(t *testing.T, root string, host *fleet.ControlPlane) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := serverCommand(ctx, t, root, host, r.user, r.args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), confinedProgram+"="+cmd.Path)
	cmd.Path = self
	err = cmd.Run()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || ctx.Err() != nil {
		t.Fatalf("it ended with %v, %v\n%s", err, ctx.Err(), stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	sentence := lines[len(lines)-1]
	if err := saysAll("it", sentence, r.says); err != nil || !strings.Contains(sentence, `"command failed" err="`) || strings.Contains(stderr.String(), "goroutine ") {
		t.Errorf("%v; it printed\n%s", err, stderr.String())
	}
	written, err := host.AuditEvents(func(e *auditv1.Event) bool {
		return e.User.Username == r.user.Name && fleet.IsWrite(e) && e.ObjectRef != nil && e.ObjectRef.Resource != "selfsubjectaccessreviews"
	})
	if err != nil || len(written) > 0 {
		t.Errorf("it has written %s, %v", asJSON(written), err)
	}
}

// confinedProgram is the variable that has this test's binary become another
// program that, even as root, may not read what a file's mode forbids.
const confinedProgram = "MUSTER_TEST_CONFINED"

// becomeConfined never returns without an error. It is done in a process of its
// own: a thread that is confined could not be used, and must not end either,
// because what the fleet has started from it would end too.
func becomeConfined(program string) error {
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		for _, capability := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
				return fmt.Errorf("dropping a capability: %w", err)
			}
		}
	}
	return unix.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
}

// TestRefusedStarts: what a server cannot work with stops it at its start, beside
// another one that goes on.
func TestRefusedStarts(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	var rules []string
	for _, right := range hostrights.All() {
		rules = append(rules, right.Without)
	}
	file, full, locked := filepath.Join(t.TempDir(), "file"), t.TempDir(), filepath.Join(t.TempDir(), "locked")
	writeFile(t, file, "")
	snapshots := filepath.Join(full, etcd.DataSubdir, "member", "snap")
	// The database is on a device that is full.
	if err := errors.Join(os.MkdirAll(snapshots, 0o700), os.Symlink("/dev/full", filepath.Join(snapshots, "db")), os.Mkdir(locked, 0)); err != nil {
		t.Fatal(err)
	}
	for _, r := range []refusedStart{
		{name: "data directory in use", args: []string{"--data-dir=" + s.fleet.Muster.DataDir()}, says: []string{s.fleet.Muster.DataDir(), "in use by another process"}},
		{name: "data directory is a file", args: []string{"--data-dir=" + file}, says: []string{file, "not a directory"}},
		{name: "unreadable data directory", args: []string{"--data-dir=" + filepath.Join(locked, "data")}, says: []string{locked, "permission denied"}},
		{name: "full disk", args: []string{"--data-dir=" + full}, says: []string{full, "no space left on device"}},
		{name: "second server with its own etcd", args: []string{"--data-dir=" + t.TempDir()}, says: []string{"another server of this installation runs with an embedded etcd"}},
		{name: "somebody else's APIService", args: []string{"--data-dir=" + t.TempDir(), "--service-name=another"}, says: []string{"leads to Service projectsveltos/muster, which is not Muster's"}},
		{name: "no rights", args: []string{"--data-dir=" + t.TempDir()}, says: append(rules, "it may not get/list/watch namespaces", "it may not update secrets named muster-serving-cert in namespace projectsveltos")},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.user = adminOf("refused-" + strings.ReplaceAll(r.name, " ", "-"))
			if r.name == "no rights" {
				r.user.Groups = nil
			}
			r.refuse(t, s.root, s.fleet.Host)
		})
	}
}

// refuseEtcd starts servers that etcd is not for, beside the ones that use it.
func (c *chartInstallation) refuseEtcd() {
	dir := c.TempDir()
	for name, data := range c.secrets()["muster-etcd-certificates"] {
		writeFile(c.T, filepath.Join(dir, name), string(data))
	}
	other, err := fleet.NewAuthority("another")
	if err != nil {
		c.Fatal(err)
	}
	wrong, err1 := other.Issue(fleet.Certificate{CommonName: "muster-etcd"})
	expired, err2 := other.Issue(fleet.Certificate{CommonName: "muster-etcd", NotAfter: time.Now().Add(-time.Minute)})
	if err := errors.Join(err1, err2); err != nil {
		c.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"other.crt": other.PEM(), "wrong.crt": wrong.Cert, "wrong.key": wrong.Key, "expired.crt": expired.Cert, "expired.key": expired.Key,
	} {
		writeFile(c.T, filepath.Join(dir, name), string(data))
	}
	var servers []string
	for _, member := range c.Muster.Members() {
		servers = append(servers, "https://"+member.Address())
	}
	files := func(ca, cert string) []string {
		return []string{"--etcd-servers=" + strings.Join(servers, ","),
			"--etcd-cafile=" + filepath.Join(dir, ca), "--etcd-certfile=" + filepath.Join(dir, cert+".crt"), "--etcd-keyfile=" + filepath.Join(dir, cert+".key")}
	}
	const mutual = "do not accept each other's certificates"
	for _, r := range []refusedStart{
		{name: "wrong certificate", args: files("ca.crt", "wrong"), says: []string{mutual, "certificate"}},
		{name: "wrong authority", args: files("other.crt", "tls"), says: []string{mutual, "unknown authority"}},
		{name: "expired certificate", args: files("ca.crt", "expired"), says: []string{"expired.crt", "expired at"}},
		{name: "no certificates", args: files("ca.crt", "tls")[:1], says: []string{mutual}},
		{name: "missing file", args: files("none.crt", "tls"), says: []string{"none.crt", "no such file"}},
	} {
		c.T.Run(r.name, func(t *testing.T) {
			r.user = adminOf("refused-" + strings.ReplaceAll(r.name, " ", "-"))
			r.refuse(t, c.root, c.Host)
		})
	}
	c.holdForeignEtcd(etcd.ClientConfig{Endpoints: servers, CAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}, files("ca.crt", "tls"))
}

// holdForeignEtcd starts a server of another host on this installation's etcd. It
// answers for its groups with the reason alone, and changes nothing.
func (c *chartInstallation) holdForeignEtcd(config etcd.ClientConfig, files []string) {
	c.Helper()
	client, err := etcd.NewClient(c.Context(), config)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	before := c.claims(client)
	host := c.Fleet.Managed(installedCluster)
	if _, err := host.Kubectl().Run(c.Context(), "create", "namespace", fleet.Namespace); err != nil {
		c.Fatal(err)
	}
	port := freePort(c.T)
	ctx, end := context.WithCancel(c.Context())
	defer end()
	user := adminOf("foreign")
	// The same key of encryption: what differs is whose etcd it is.
	cmd := serverCommand(ctx, c.T, c.root, host, user, append(files, fmt.Sprintf("--secure-port=%d", port))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	const says = "etcd's content belongs to another installation"
	c.eventually("it holds its storage", func(ctx context.Context) error {
		result, err := host.Kubectl().Run(ctx, "get", "--raw=/apis/lib.projectsveltos.io/v1beta1/clustersets",
			fmt.Sprintf("--server=https://127.0.0.1:%d", port), "--insecure-skip-tls-verify")
		if err == nil || !strings.Contains(result.Stderr, says) {
			return fmt.Errorf("it answers %q, %w", result.Stdout+result.Stderr, err)
		}
		return nil
	})
	end()
	_ = cmd.Wait() // it was killed
	if after := c.claims(client); after != before {
		c.Errorf("in etcd there was\n%s\nand is\n%s", before, after)
	}
	written, err := host.AuditEvents(func(e *auditv1.Event) bool {
		own := []string{"selfsubjectaccessreviews", "subjectaccessreviews", "tokenreviews"}
		return e.User.Username == user.Name && fleet.IsWrite(e) && e.ObjectRef != nil && !slices.Contains(own, e.ObjectRef.Resource) &&
			e.ObjectRef.Name != hostrights.ServingSecret
	})
	if err != nil || len(written) > 0 {
		c.Errorf("it has written %s, %v; it printed\n%s", asJSON(written), err, stderr.String())
	}
}

// claims are whose etcd it is, and the epoch, which every leader raises.
func (c *chartInstallation) claims(client *clientv3.Client) string {
	c.Helper()
	var all []string
	for _, key := range []string{"installation", "epoch"} {
		found, err := client.Get(c.Context(), storagePrefix+key)
		if err != nil {
			c.Fatal(err)
		}
		for _, kv := range found.Kvs {
			all = append(all, fmt.Sprintf("%s at %d: %s", kv.Key, kv.ModRevision, kv.Value))
		}
	}
	return strings.Join(all, "\n")
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// adminOf is somebody of this name who may do everything on a control plane.
func adminOf(name string) fleet.User {
	return fleet.User{Name: name, Groups: []string{"system:masters"}}
}
