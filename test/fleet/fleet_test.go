// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// startForTest starts a fleet in a directory of its own and shows its logs'
// ends where the test fails.
func startForTest(t *testing.T, options Options) *Fleet {
	t.Helper()
	options.Dir, options.Logf = t.TempDir(), t.Logf
	f, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// run runs kubectl as the cluster's administrator.
func run(t *testing.T, c *ControlPlane, args ...string) string {
	t.Helper()
	result, err := c.Kubectl().Run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(result.Stdout)
}

// proxied runs kubectl as users of a managed cluster do, through its proxy.
func proxied(t *testing.T, c *ControlPlane, args ...string) (Result, error) {
	t.Helper()
	return c.kubectlWith(c.KubeconfigFile()).Run(t.Context(), append(args, "--request-timeout=20s")...)
}

func clusterID(t *testing.T, c *ControlPlane) string {
	t.Helper()
	return run(t, c, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
}

// TestFleet shares one fleet, as the tests on it are meant to.
func TestFleet(t *testing.T) {
	f := startForTest(t, Options{WithoutMuster: true, Managed: []string{"cluster1"}})
	t.Run("reports its Kubernetes version", func(t *testing.T) { testVersion(t, f) })
	t.Run("has a working controller manager", func(t *testing.T) { testControllers(t, f) })
	t.Run("describes itself", func(t *testing.T) { testState(t, f) })
	t.Run("proxy stands before a managed cluster", func(t *testing.T) { testProxied(t, f) })
	t.Run("users and audit", func(t *testing.T) { testUsers(t, f) })
	t.Run("kill and restart", func(t *testing.T) { testKillAndRestart(t, f) })
	t.Run("host restarts", func(t *testing.T) { testHostRestart(t, f) })
	t.Run("another cluster at the same address", func(t *testing.T) { testReplace(t, f) })
	t.Run("heals", func(t *testing.T) { testHeal(t, f) })
	t.Run("takes faults from other processes", func(t *testing.T) { testControl(t, f) })
	t.Run("shipped manifests", func(t *testing.T) { testManifests(t, f) })
	t.Run("side by side with another", func(t *testing.T) { testSideBySide(t, f) })
}

func testVersion(t *testing.T, f *Fleet) {
	for _, c := range append(f.Clusters(), f.Host) {
		out := run(t, c, "get", "--raw", "/version")
		if !strings.Contains(out, `"gitVersion": "v1.37.0"`) {
			t.Errorf("%s reports %s", c.Name(), out)
		}
	}
}

// expectServiceAccount waits for the default ServiceAccount that a controller
// manager makes.
func expectServiceAccount(t *testing.T, c *ControlPlane, namespace string) {
	t.Helper()
	await(t, namespace+" has a default ServiceAccount", func() bool {
		_, err := c.Kubectl().Run(t.Context(), "get", "serviceaccount", "default", "--namespace="+namespace)
		return err == nil
	})
}

func testControllers(t *testing.T, f *Fleet) {
	run(t, f.Host, "create", "namespace", "doomed")
	expectServiceAccount(t, f.Host, "doomed")
	run(t, f.Host, "create", "configmap", "content", "--namespace=doomed")
	run(t, f.Host, "delete", "namespace", "doomed", "--timeout=60s")
}

func testState(t *testing.T, f *Fleet) {
	state, err := ReadState(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if !state.Ready || !state.Running() {
		t.Errorf("ready=%t running=%t, want both", state.Ready, state.Running())
	}
	var names []string
	for _, p := range state.Processes {
		names = append(names, p.Name)
		if !p.Alive() {
			t.Errorf("%s does not run", p.Name)
		}
	}
	slices.Sort(names)
	want := []string{"cluster1-kube-apiserver", "etcd", "host-kube-apiserver", "host-kube-controller-manager"}
	if !slices.Equal(names, want) {
		t.Errorf("processes %q, want %q", names, want)
	}
}

func testProxied(t *testing.T, f *Fleet) {
	cluster := f.Managed("cluster1")
	if _, err := proxied(t, cluster, "get", "namespaces"); err != nil {
		t.Fatal(err)
	}
	set(t, cluster.Proxy, Refuse)
	defer set(t, cluster.Proxy, Forward)
	if out, err := proxied(t, cluster, "get", "namespaces"); err == nil || !strings.Contains(out.Stderr, "refused") {
		t.Errorf("through a refusing proxy: %v", err)
	}
	run(t, cluster, "get", "namespaces") // past the proxy
}

func testUsers(t *testing.T, f *Fleet) {
	kubectl, err := f.Host.KubectlAs(User{Name: "jane", Groups: []string{"readers"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubectl.Run(t.Context(), "create", "configmap", "janes"); err == nil || !strings.Contains(err.Error(), `User "jane" cannot create`) {
		t.Errorf("a user without rights: %v", err)
	}
	run(t, f.Host, "create", "clusterrolebinding", "readers", "--clusterrole=view", "--group=readers")
	run(t, f.Host, "create", "configmap", "admins")
	if _, err := kubectl.Run(t.Context(), "get", "configmap", "admins"); err != nil {
		t.Errorf("a user with a right by group: %v", err)
	}
	events, err := f.Host.AuditEvents(func(e *auditv1.Event) bool {
		return e.ObjectRef != nil && e.ObjectRef.Resource == "configmaps" && e.ObjectRef.Namespace == "default" && IsWrite(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	writers := map[string]string{}
	for _, e := range events {
		writers[e.ObjectRef.Name] = e.User.Username
	}
	if writers["admins"] != "admin" || writers["janes"] != "" {
		t.Errorf("the audit log says who wrote: %v", writers)
	}
}

func testKillAndRestart(t *testing.T, f *Fleet) {
	cluster := f.Managed("cluster1")
	before := clusterID(t, cluster)
	run(t, cluster, "create", "configmap", "kept")
	if err := cluster.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", cluster.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a killed cluster got %v", err)
	}
	if err := cluster.Kill(t.Context()); err == nil {
		t.Error("it could be killed twice")
	}
	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := proxied(t, cluster, "get", "configmap", "kept"); err != nil {
		t.Errorf("its data after a restart: %v", err)
	}
	if after := clusterID(t, cluster); after != before {
		t.Errorf("its identity went from %s to %s", before, after)
	}
}

func testHostRestart(t *testing.T, f *Fleet) {
	run(t, f.Host, "create", "configmap", "kept")
	if err := f.Host.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, f.Host, "get", "configmap", "kept")
}

func testReplace(t *testing.T, f *Fleet) {
	cluster := f.Managed("cluster1")
	before := clusterID(t, cluster)
	run(t, cluster, "create", "configmap", "lost")
	if err := cluster.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := clusterID(t, cluster); after == before {
		t.Error("it is still the same cluster")
	}
	if out, err := proxied(t, cluster, "get", "configmap", "lost"); err == nil || !strings.Contains(out.Stderr, "NotFound") {
		t.Errorf("the old cluster's data, with the old credentials: %v", err)
	}
}

func testHeal(t *testing.T, f *Fleet) {
	cluster := f.Managed("cluster1")
	if err := cluster.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := proxied(t, cluster, "get", "namespaces"); err != nil {
		t.Errorf("after it was killed: %v", err)
	}
	set(t, cluster.Proxy, BlackHole)
	if err := f.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := proxied(t, cluster, "get", "namespaces"); err != nil {
		t.Errorf("after a black hole: %v", err)
	}
}

func testControl(t *testing.T, f *Fleet) {
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- f.ServeControl(ctx, func() error { close(ready); return nil })
	}()
	<-ready
	state, err := ReadState(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	cluster := f.Managed("cluster1")
	for _, mode := range []Mode{BlackHole, Refuse, Forward} {
		if err := state.Inflict(t.Context(), Fault{Target: "cluster1", Action: string(mode)}); err != nil {
			t.Fatal(err)
		}
		if got := cluster.Proxy.Mode(); got != mode {
			t.Errorf("mode is %q, want %q", got, mode)
		}
	}
	for fault, want := range map[Fault]string{
		{Target: "nowhere", Action: "kill"}:     `no part "nowhere"`,
		{Target: "cluster1", Action: "explode"}: `nothing is called "explode"`,
		{Target: "host", Action: "replace"}:     "cannot happen to host",
	} {
		if err := state.Inflict(t.Context(), fault); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", fault, err, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the end: %v", err)
	}
}

func testSideBySide(t *testing.T, f *Fleet) {
	if _, err := Start(t.Context(), Options{Dir: f.Dir(), WithoutMuster: true}); err == nil || !strings.Contains(err.Error(), "another fleet runs") {
		t.Errorf("a second fleet in the same directory: %v", err)
	}
	other, err := Start(t.Context(), Options{Name: "other", Dir: t.TempDir(), WithoutMuster: true, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	run(t, other.Host, "create", "namespace", "others")
	if out := run(t, f.Host, "get", "namespaces"); strings.Contains(out, "others") {
		t.Error("the fleets share data")
	}
	ids, err := ReadState(other.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range ids.Processes {
		if p.Alive() {
			t.Errorf("%s is left of the other fleet", p.Name)
		}
	}
	run(t, f.Host, "get", "namespaces")
}

// A part that does not start is named, with the end of its log, and nothing is
// left running.
func TestFailedStart(t *testing.T) {
	root, err := RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	for _, program := range []string{"etcd", "kubectl", "kube-controller-manager"} {
		if err := os.Symlink(filepath.Join(root, "bin", program), filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	broken := "#!/bin/sh\necho this cannot work >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "kube-apiserver"), []byte(broken), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Options{Dir: dir, Bin: bin, WithoutMuster: true})
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"host-kube-apiserver did not get ready", "exit status 1", "this cannot work"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if _, err := ReadState(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its state is left: %v", err)
	}
	if _, err := net.Dial("unix", filepath.Join(dir, "etcd", "client.sock")); err == nil {
		t.Error("its etcd is left")
	}
}

// What a fleet that was killed leaves behind is gone with the next start in
// its directory; what never was a fleet's is not touched.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	leftOver := launchForTest(t, shell(t.TempDir(), "left-over", "exec sleep 600"))
	state := State{Processes: []ProcessState{{Name: "left-over", ProcessID: leftOver.id}}}
	if err := state.write(dir); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	f := &Fleet{dir: dir}
	if err := f.claim(); err == nil || !strings.Contains(err.Error(), "something else than a fleet") {
		t.Errorf("claiming somebody's directory: %v", err)
	}
	if _, err := os.Stat(precious); err != nil || !leftOver.running() {
		t.Errorf("it was touched: %v", err)
	}

	if err := os.WriteFile(filepath.Join(dir, lockFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.claim(); err != nil {
		t.Fatal(err)
	}
	defer f.lock.Close()
	await(t, "the left-over process ends", func() bool { return !leftOver.running() })
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in a claimed directory: %v, %v", entries, err)
	}
	if err := (&Fleet{dir: dir}).claim(); err == nil || !strings.Contains(err.Error(), "another fleet runs") {
		t.Errorf("claiming a claimed directory: %v", err)
	}
}

func TestOptions(t *testing.T) {
	tests := map[string]struct {
		options Options
		want    string
	}{
		"a name that is no name":    {Options{Name: "../x"}, "fleet name"},
		"a cluster named like that": {Options{Managed: []string{"A"}}, "managed cluster name"},
		"a cluster given twice":     {Options{Managed: []string{"a", "b", "a"}}, "twice"},
		"a cluster named host":      {Options{Managed: []string{"host"}}, "the host's"},
		"nothing is built":          {Options{Bin: t.TempDir()}, "run `make build` first"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.options.Dir = t.TempDir()
			if _, err := Start(t.Context(), test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
