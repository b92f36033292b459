// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// testFile reads a file of testdata.
func (c *chartInstallation) testFile(name string) string {
	c.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		c.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "REPOSITORY", c.repository)
}

// haveSveltos makes a host as Sveltos leaves it, and a managed cluster with what
// it has deployed.
func (c *chartInstallation) haveSveltos() {
	c.run(c.testFile("sveltos/definitions.yaml"), "apply", "-f", "-")
	c.run("", "wait", "customresourcedefinitions", "--all", "--for=condition=Established", "--timeout=30s")
	c.eventually("the host takes Sveltos' objects", func(ctx context.Context) error {
		_, err := c.Host.Kubectl().Input(ctx, c.testFile("sveltos/objects.yaml"), "apply", "-f", "-")
		return err
	})
	managed := c.Fleet.Managed(installedCluster)
	kubeconfig, err := managed.Kubeconfig(clusterAdmin())
	if err != nil {
		c.Fatal(err)
	}
	file := filepath.Join(c.TempDir(), "kubeconfig")
	writeFile(c.T, file, string(kubeconfig))
	c.run("", "create", "secret", "generic", fleet.KubeconfigSecret(installedCluster), "--namespace=fleet", "--from-file=kubeconfig="+file)
	if _, err := managed.Kubectl().Input(c.Context(), c.testFile("sveltos/content.yaml"),
		"apply", "--server-side", "--field-manager=application/apply-patch", "-f", "-"); err != nil {
		c.Fatal(err)
	}
	install := exec.CommandContext(c.Context(), filepath.Join(c.root, "bin", "helm"), "install", "site-chart", "settings",
		"--repo="+c.repository, "--version=1.0.0", "--namespace=default", "--kubeconfig="+managed.DirectKubeconfigFile())
	install.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.dir, "HELM_CONFIG_HOME="+c.dir, "HELM_DATA_HOME="+c.dir)
	if out, err := install.CombinedOutput(); err != nil {
		c.Fatalf("helm install: %v\n%s", err, out)
	}
	c.content = c.readContent()
}

// stepHeading begins a step of what "doctor --migration" prints; what is indented
// further than its prose is for a shell.
var stepHeading = regexp.MustCompile(`(?m)^\d+\. `)

const shellIndent = "      "

// migrationSteps are the commands of each step that the doctor prints.
func (c *chartInstallation) migrationSteps() []string {
	c.Helper()
	var steps []string
	for _, text := range stepHeading.Split(c.run("", "muster", "doctor", "--migration"), -1)[1:] {
		var commands strings.Builder
		for line := range strings.Lines(text) {
			if command, ok := strings.CutPrefix(line, shellIndent); ok {
				commands.WriteString(command)
			}
		}
		steps = append(steps, commands.String())
	}
	return steps
}

// shell runs commands as a person would, as administrator of the host.
func (c *chartInstallation) shell(commands string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), stepLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", commands)
	cmd.Dir = c.dir
	// kubectl's own environment has the kubeconfig, and the programs in its path.
	cmd.Env = append(c.Host.Kubectl().Command(ctx).Env, "HELM_CACHE_HOME="+c.dir, "HELM_CONFIG_HOME="+c.dir, "HELM_DATA_HOME="+c.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("%v\n%s\nprinted:\n%s", err, commands, out)
	}
}

// moveFromSveltos does what "doctor --migration" prints, to the letter.
func (c *chartInstallation) moveFromSveltos() {
	steps := c.migrationSteps()
	if len(steps) != 6 {
		c.Fatalf("the doctor prints %d steps", len(steps))
	}
	for _, commands := range steps[:4] {
		c.shell(commands)
		c.contentIsUntouched()
	}
	if left := c.run("", "get", "customresourcedefinitions", "-o", "name"); left != "" {
		c.Errorf("left of Sveltos: %q", left)
	}
	// Its chart is the one here; backups are asked for, because what they make is
	// looked for later.
	install, rest, _ := strings.Cut(steps[4], "\n")
	c.shell(strings.ReplaceAll(install, "CHART", c.chart()+" --set=backup.enabled=true"))
	c.follow()
	c.preparedOnce()
	c.healthy()
	c.shell(rest)
	c.shell(steps[5])
	c.adopts()
	c.deploys("after-the-move")
	c.canBeDeleted()
}

// preparedOnce runs the Job that makes Secrets once more, which changes none.
func (c *chartInstallation) preparedOnce() {
	c.Helper()
	sameKeys := c.sameSecrets()
	if err := c.RunJob(c.Context(), "prepare", func(context.Context) error { return nil }); err != nil {
		c.Fatal(err)
	}
	sameKeys()
}

// adopts waits until Muster has everything that Sveltos has deployed in its
// inventories.
func (c *chartInstallation) adopts() {
	c.Helper()
	c.eventually("both profiles are provisioned", func(ctx context.Context) error {
		site, err1 := c.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, "site", metav1.GetOptions{})
		team, err2 := c.muster.ConfigV1beta1().Profiles("fleet").Get(ctx, "team", metav1.GetOptions{})
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return errors.Join(
			condition(site.Status.Conditions, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned),
			condition(team.Status.Conditions, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned))
	})
	shown := c.run("", "muster", "show", "addons")
	for _, name := range []string{" site ", " team ", " site-chart "} {
		if !strings.Contains(shown, name) {
			c.Errorf("no%sin what is deployed:\n%s", name, shown)
		}
	}
	if finalizers := c.run("", "get", "set/prod", "--namespace=fleet", "-o", "jsonpath={.metadata.finalizers}"); finalizers != "" {
		c.Errorf("Set prod came with finalizers %s", finalizers)
	}
}

// canBeDeleted deletes what has come from Sveltos and has nothing deployed, which
// no finalizer of Sveltos' keeps.
func (c *chartInstallation) canBeDeleted() {
	c.Helper()
	c.run("", "delete", "set/prod", "--namespace=fleet", "--timeout=20s")
}

// deletesContent is a filter for requests that have deleted what is still there.
func deletesContent(content map[string]string) func(*auditv1.Event) bool {
	return func(e *auditv1.Event) bool {
		if !fleet.IsWrite(e) || !strings.HasPrefix(e.Verb, "delete") || e.ObjectRef == nil {
			return false
		}
		kind := map[string]string{"configmaps": "ConfigMap", "secrets": "Secret"}[e.ObjectRef.Resource]
		_, ours := content[fmt.Sprintf("%s %s", kind, e.ObjectRef.Name)]
		return ours && e.ObjectRef.Namespace == "default"
	}
}

// contentIsUntouched compares what is in the managed cluster with what was there
// at the beginning, by UID: what was withdrawn and deployed again would have
// another. The audit log knows that nothing was deleted in between, either.
func (c *chartInstallation) contentIsUntouched() {
	c.Helper()
	if diff := cmp.Diff(c.content, c.readContent()); diff != "" {
		c.Errorf("content (-before +after):\n%s", diff)
	}
	deleted, err := c.Fleet.Managed(installedCluster).AuditEvents(deletesContent(c.content))
	if err != nil || len(deleted) > 0 {
		c.Errorf("deleted meanwhile: %s, %v", asJSON(deleted), err)
	}
}

// readContent reads what is in the managed cluster: its UID and data, by name.
// The release's revision says that Helm has not been there.
func (c *chartInstallation) readContent() map[string]string {
	c.Helper()
	found := map[string]string{}
	for _, name := range []string{"site", "team", "site-chart"} {
		object, err := c.managed.CoreV1().ConfigMaps("default").Get(c.Context(), name, metav1.GetOptions{})
		if err != nil {
			c.Fatal(err)
		}
		found["ConfigMap "+name] = string(object.UID) + " " + asJSON(object.Data)
	}
	releases, err := c.managed.CoreV1().Secrets("default").List(c.Context(), metav1.ListOptions{FieldSelector: "type=helm.sh/release.v1"})
	if err != nil {
		c.Fatal(err)
	}
	for _, secret := range releases.Items {
		found["Secret "+secret.Name] = string(secret.UID) + " " + secret.Labels["status"]
	}
	return found
}
