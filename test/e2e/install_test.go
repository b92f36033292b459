// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/chart"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// stepLimit is how long one step of an installation may take.
	stepLimit = 2 * time.Minute
	// installedCluster is the managed cluster that content is in.
	installedCluster = "cluster1"
)

// chartInstallation is the chart on a host that has no nodes: what nodes would
// run, the fleet runs.
type chartInstallation struct {
	*installation
	host, managed kubernetes.Interface
	root          string
	repository    string // of charts
	dir           string // where the commands of a person run
	// content is what is in the managed cluster from the beginning to the end, by
	// its UID and its data.
	content map[string]string
}

// TestInstallation goes from the first command of the README to the last, on a
// host that Sveltos is on, by the real Helm: the way from Sveltos, installation,
// three replicas, the death of a leader, the doctor, uninstallation. What runs in
// a managed cluster runs on through all of it.
func TestInstallation(t *testing.T) {
	t.Parallel()
	c := newChartInstallation(t)
	for _, step := range []struct {
		name string
		run  func(*chartInstallation)
	}{
		{"the host takes every rendering", (*chartInstallation).takesEveryRendering},
		{"Sveltos is there", (*chartInstallation).haveSveltos},
		{"the way from Sveltos", (*chartInstallation).moveFromSveltos},
		{"three replicas", (*chartInstallation).scaleToThree},
		{"a leader dies", (*chartInstallation).loseLeader},
		{"the doctor", (*chartInstallation).examine},
		{"bad input", (*chartInstallation).refuseEtcd},
		{"back to one", (*chartInstallation).scaleToOne},
		{"uninstall", (*chartInstallation).uninstallRunning},
		{"install again", (*chartInstallation).installAgain},
		{"without Helm", (*chartInstallation).installPlain},
	} {
		began := time.Now()
		if !t.Run(step.name, func(t *testing.T) {
			inner, own := *c.installation, *c
			inner.T, own.installation = t, &inner
			step.run(&own)
			if c.content = own.content; c.content != nil {
				own.contentIsUntouched()
			}
		}) {
			break // what follows builds on it
		}
		t.Logf("%s took %.1f s", step.name, time.Since(began).Seconds())
	}
}

func newChartInstallation(t *testing.T) *chartInstallation {
	t.Helper()
	root, err := fleet.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Start(t.Context(), fleet.Options{Name: "install", Dir: t.TempDir(), Managed: []string{installedCluster}, WithoutMuster: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && f.Muster != nil {
			t.Logf("Muster's logs end:\n%s", f.Muster.LogTail())
		}
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &chartInstallation{installation: &installation{T: t, Fleet: f}, root: root, repository: chartRepository(t), dir: t.TempDir()}
	hostConfig, err1 := f.Host.RESTConfig()
	managedConfig, err2 := f.Managed(installedCluster).RESTConfig()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	c.host, err1 = kubernetes.NewForConfig(hostConfig)
	c.managed, err2 = kubernetes.NewForConfig(managedConfig)
	c.muster, err = versioned.NewForConfig(hostConfig)
	if err := errors.Join(err, err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{fleet.Namespace, "fleet", "fleet-a", "fleet-b", "tenant"} {
		c.run("", "create", "namespace", namespace)
	}
	return c
}

func (c *chartInstallation) chart() string {
	return filepath.Join(c.root, "artifacts", "chart", "muster")
}

// helm runs Helm, which has to succeed.
func (c *chartInstallation) helm(args ...string) string {
	c.Helper()
	out, err := c.Helm(c.Context(), args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

// follow has the fleet run what Pods would.
func (c *chartInstallation) follow() {
	c.Helper()
	if err := c.FollowRelease(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// takesEveryRendering has the host check what is rendered, as it would if it were
// applied.
func (c *chartInstallation) takesEveryRendering() {
	for name, values := range chart.ValuesSets() {
		file := filepath.Join(c.TempDir(), "values.yaml")
		writeFile(c.T, file, values)
		var manifests strings.Builder
		for _, document := range strings.Split(c.helm("template", "muster", c.chart(), "--kube-version=1.37.0", "--values="+file), "\n---\n") {
			var kind struct{ Kind string }
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				c.Fatal(err)
			}
			if kind.Kind != "" && kind.Kind != "ServiceMonitor" { // the Prometheus operator's, which is not there
				manifests.WriteString("---\n" + document + "\n")
			}
		}
		if _, err := c.Host.Kubectl().Input(c.Context(), manifests.String(),
			"apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			c.Errorf("%s: %v", name, err)
		}
	}
}

// secrets are those with keys, which nothing may change.
func (c *chartInstallation) secrets() map[string]map[string][]byte {
	c.Helper()
	found := map[string]map[string][]byte{}
	for _, name := range []string{"muster-encryption", "muster-etcd-authority", "muster-etcd-certificates"} {
		secret, err := c.host.CoreV1().Secrets(fleet.Namespace).Get(c.Context(), name, metav1.GetOptions{})
		if err != nil {
			c.Fatal(err)
		}
		found[name] = secret.Data
	}
	return found
}

// sameSecrets returns a check that the keys are those of now.
func (c *chartInstallation) sameSecrets() func() {
	before := c.secrets()
	return func() {
		c.Helper()
		if diff := cmp.Diff(before, c.secrets()); diff != "" {
			c.Errorf("Secrets (-before +after):\n%s", diff)
		}
	}
}

// scaleToThree changes the Deployment and nothing else.
func (c *chartInstallation) scaleToThree() {
	sameKeys, etcd, objects := c.sameSecrets(), c.etcd(), c.uids()
	c.helm("upgrade", "muster", c.chart(), "--reuse-values", "--set=replicaCount=3")
	c.follow()
	c.run("", "rollout", "status", "deployment/muster", "--namespace="+fleet.Namespace, "--timeout=30s")
	if got := len(c.Muster.Replicas()); got != 3 {
		c.Errorf("%d replicas run", got)
	}
	sameKeys()
	if after := c.etcd(); after != etcd {
		c.Errorf("etcd was %s and is %s", etcd, after)
	}
	if diff := cmp.Diff(objects, c.uids()); diff != "" {
		c.Errorf("objects (-before +after):\n%s", diff)
	}
	// Fewer members Helm refuses before it changes anything.
	out, err := c.Helm(c.Context(), "upgrade", "muster", c.chart(), "--reuse-values", "--set=etcd.replicas=1")
	if err == nil || !strings.Contains(err.Error(), "etcd.replicas is 1, and etcd has 3 members") {
		c.Errorf("fewer members: %v\n%s", err, out)
	}
}

// etcd tells whether the StatefulSet is the same.
func (c *chartInstallation) etcd() string {
	c.Helper()
	set, err := c.host.AppsV1().StatefulSets(fleet.Namespace).Get(c.Context(), "muster-etcd", metav1.GetOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return string(set.UID) + " " + strconv.FormatInt(set.Generation, 10)
}

// uids are those of all of Muster's objects.
func (c *chartInstallation) uids() string {
	c.Helper()
	return c.run("", "get", "sveltosclusters,clustersets,sets,clusterprofiles,profiles", "--all-namespaces",
		"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{"\n"}{end}`)
}

// loseLeader kills the leader. Another replica leads within seconds, as the Lease
// shows, while the API goes on.
func (c *chartInstallation) loseLeader() {
	holder := func() string {
		return c.run("", "get", "lease", "muster", "--namespace="+fleet.Namespace, "-o", "jsonpath={.spec.holderIdentity}")
	}
	before := holder()
	leader, err := c.Muster.Leader(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	if err := leader.Kill(); err != nil {
		c.Fatal(err)
	}
	c.eventually("another replica leads", func(ctx context.Context) error {
		now, err := c.Muster.Leader(ctx)
		if err == nil && now == leader {
			err = errors.New("the lease is still that of the one that was killed")
		}
		return err
	})
	if after := holder(); after == before || after == "" {
		c.Errorf("kubectl get lease shows %q, was %q", after, before)
	}
	if table := c.run("", "get", "lease", "muster", "--namespace="+fleet.Namespace); !strings.Contains(table, holder()) {
		c.Errorf("kubectl get lease prints\n%s", table)
	}
	c.deploys("after-the-leader")
	if err := leader.Start(c.Context()); err != nil { // as its Pod's container is
		c.Fatal(err)
	}
}

// deploys has a new profile deployed, and withdrawn.
func (c *chartInstallation) deploys(name string) {
	c.Helper()
	manifest := fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {namespace: fleet, name: %[1]s}
data: {a.yaml: "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: default, name: %[1]s}}"}
---
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %[1]s}
spec:
  clusterSelector: {matchLabels: {env: prod}}
  policyRefs: [{kind: ConfigMap, namespace: fleet, name: %[1]s}]
`, name)
	has := func(want bool) {
		c.eventually(fmt.Sprintf("%s is deployed: %t", name, want), func(ctx context.Context) error {
			_, err := c.managed.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) && !want {
				return nil
			}
			if err == nil && !want {
				err = errors.New("it is there")
			}
			return err
		})
	}
	// A connection to a replica that has just died may have been picked.
	c.eventually("Muster takes a profile", func(ctx context.Context) error {
		_, err := c.Host.Kubectl().Input(ctx, manifest, "apply", "-f", "-")
		return err
	})
	has(true)
	c.run(manifest, "delete", "-f", "-")
	has(false)
}

func (c *chartInstallation) scaleToOne() {
	etcd, objects := c.etcd(), c.uids()
	c.helm("upgrade", "muster", c.chart(), "--reuse-values", "--set=replicaCount=1")
	c.follow()
	if after := c.etcd(); after != etcd || len(c.Muster.Replicas()) != 1 {
		c.Errorf("%d replicas run, and etcd was %s and is %s", len(c.Muster.Replicas()), etcd, after)
	}
	if diff := cmp.Diff(objects, c.uids()); diff != "" {
		c.Errorf("objects (-before +after):\n%s", diff)
	}
	c.deploys("with-one-again")
}

func (c *chartInstallation) uninstallRunning() {
	c.uninstall()
	if err := c.EndRelease(c.Context()); err != nil {
		c.Error(err)
	}
	c.namespacesDelete()
}

// uninstall runs Helm, and what the Pod of its hook would run. While the
// APIServices lead to a server that is not there, no namespace can be deleted;
// the hook removes them while Muster still serves, and only then Helm goes on.
func (c *chartInstallation) uninstall() {
	c.Helper()
	sameKeys := c.sameSecrets()
	ctx, cancel := context.WithTimeout(c.Context(), stepLimit)
	defer cancel()
	uninstalled := make(chan error, 1)
	go func() {
		_, err := c.Helm(ctx, "uninstall", "muster", "--timeout=2m")
		uninstalled <- err
	}()
	err := c.RunJob(ctx, "uninstall", func(ctx context.Context) error {
		left, err := c.Host.Kubectl().Run(ctx, "get", "apiservices", "--selector=app.kubernetes.io/name=muster", "--output=name")
		if err == nil && left.Stdout != "" {
			err = fmt.Errorf("APIServices left by the hook: %q", left.Stdout)
		}
		if err == nil {
			_, err = c.Host.Kubectl().Run(ctx, "get", "deployment/muster", "statefulset/muster-etcd", "--namespace="+fleet.Namespace)
		}
		return err
	})
	if err := errors.Join(err, <-uninstalled); err != nil {
		c.Fatal(err)
	}
	sameKeys()
	for _, kind := range []string{"deployment", "statefulset", "job", "clusterrole", "clusterrolebinding", "flowschema", "serviceaccount"} {
		if left := c.run("", "get", kind, "--all-namespaces", "--selector=app.kubernetes.io/part-of=muster", "--output=name"); left != "" {
			c.Errorf("left after uninstallation: %q", left)
		}
	}
}

// namespacesDelete deletes a namespace, and makes it again.
func (c *chartInstallation) namespacesDelete() {
	c.Helper()
	c.run("", "delete", "namespace", "fleet-a", "--timeout=60s")
	c.run("", "create", "namespace", "fleet-a")
}

// installAgain finds what an uninstallation has kept: the keys, and the claim of
// the backups, which Helm takes up as its own. Muster itself does not run, then:
// an uninstallation has to work without it, too.
func (c *chartInstallation) installAgain() {
	sameKeys := c.sameSecrets()
	c.run("", "get", "--namespace="+fleet.Namespace, "persistentvolumeclaim/muster-backup")
	c.helm("install", "muster", c.chart(), "--set=backup.enabled=true")
	if err := c.RunJob(c.Context(), "prepare", func(context.Context) error { return nil }); err != nil {
		c.Fatal(err)
	}
	sameKeys()
	c.uninstall()
	c.namespacesDelete()
}

// installPlain is the way without Helm, there and back.
func (c *chartInstallation) installPlain() {
	deploy := filepath.Join(c.root, "artifacts", "deploy")
	c.run("", "apply", "--server-side", "-f", deploy)
	if err := c.RunJob(c.Context(), "prepare", func(context.Context) error { return nil }); err != nil {
		c.Fatal(err)
	}
	c.run("", "delete", "-f", filepath.Join(deploy, "80-apiservices.yaml"))
	// Its namespace is in there: the data, the keys and the backups go too.
	c.run("", "delete", "-f", deploy, "--ignore-not-found", "--timeout=60s")
	c.run("", "delete", "namespace", "tenant", "--timeout=60s")
}
