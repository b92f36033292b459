// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// write writes a file of the test's own and returns its path.
func (s *scope) write(name string, data []byte) string {
	s.Helper()
	path := filepath.Join(s.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// kubeconfigOf is a kubeconfig of a managed cluster for somebody who may do
// everything there.
func (s *scope) kubeconfigOf(cluster string, user fleet.User) []byte {
	s.Helper()
	data, err := s.fleet.Managed(cluster).Kubeconfig(user)
	if err != nil {
		s.Fatal(err)
	}
	return data
}

// clusterAdmin is a user of a managed cluster.
func clusterAdmin() fleet.User {
	return fleet.User{Name: "muster", Groups: []string{"system:masters"}}
}

func TestCLIRegisters(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	file := s.write("cluster2.yaml", s.kubeconfigOf("cluster2", clusterAdmin()))
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "sveltoscluster", "mine", "--namespace="+s.name, "--ignore-not-found")
		return err
	})
	register := []string{"muster", "register", "cluster", "--namespace=" + s.name, "--cluster=mine", "--kubeconfig=" + file}

	out := s.kubectl(append(register, "--labels=env=cli,scope="+s.name, "--wait", "--timeout=60s")...)
	if want := "cluster mine successfully registered in namespace " + s.name; !strings.Contains(out, want) || !strings.Contains(out, "is ready") {
		t.Errorf("it says %q, want %q and that it is ready", out, want)
	}
	cluster, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(s.Context(), "mine", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !cluster.Status.Ready || cluster.Labels["env"] != "cli" || cluster.Labels["scope"] != s.name {
		t.Errorf("after --wait: ready=%t, labels %v", cluster.Status.Ready, cluster.Labels)
	}

	// Again, with other labels: those that it has stay.
	if out := s.kubectl(append(register, "--labels=tier=gold")...); !strings.Contains(out, "successfully updated") {
		t.Errorf("registered again, it says %q", out)
	}
	again, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(s.Context(), "mine", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again.UID != cluster.UID || again.Labels["env"] != "cli" || again.Labels["tier"] != "gold" {
		t.Errorf("registered again: UID %s was %s, labels %v", again.UID, cluster.UID, again.Labels)
	}

	s.kubectl("muster", "deregister", "cluster", "--namespace="+s.name, "--cluster=mine")
	if _, err := s.host.CoreV1().Secrets(s.name).Get(s.Context(), fleet.KubeconfigSecret("mine"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the kubeconfig outlives its registration: %v", err)
	}
	s.kubectlFails("not found", "muster", "deregister", "cluster", "--namespace="+s.name, "--cluster=mine")
}

// TestCLIWaits: a cluster that does not get ready is an error that says why.
func TestCLIWaits(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	// Another cluster's certificate authority signed this one.
	foreign := strings.ReplaceAll(string(s.kubeconfigOf("cluster2", clusterAdmin())),
		s.fleet.Managed("cluster2").Address(), s.fleet.Managed("cluster1").Address())
	file := s.write("foreign.yaml", []byte(foreign))
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "sveltoscluster", "mine", "--namespace="+s.name, "--ignore-not-found")
		return err
	})
	s.kubectlFails("certificate", "muster", "register", "cluster", "--namespace="+s.name, "--cluster=mine",
		"--kubeconfig="+file, "--wait", "--timeout=5s")
}

// TestCLIRefusesToRegister: nothing is left behind by a registration that
// cannot work, and upstream's other ways say what to use instead.
func TestCLIRefusesToRegister(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	good := string(s.kubeconfigOf("cluster1", clusterAdmin()))
	file := s.write("good.yaml", []byte(good))
	canary := "canary-" + s.name
	bad := map[string]struct{ content, says string }{
		"empty":         {"", "empty"},
		"truncated":     {good[:len(good)/2], "truncated"},
		"http":          {strings.Replace(good, "https://", "http://", 1), "https"},
		"exec":          {withUser(good, "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: ["+canary+"], interactiveMode: Never}"), "exec"},
		"auth-provider": {withUser(good, "auth-provider: {name: oidc, config: {id-token: "+canary+"}}"), "auth-provider"},
		"token file":    {withUser(good, "tokenFile: /var/run/"+canary), "tokenFile"},
		"large":         {good + "#" + strings.Repeat("x", 10<<20), "at most 1048576 are read"},
	}
	for name, test := range bad {
		path := s.write("bad.yaml", []byte(test.content))
		result := s.kubectlFails(test.says, "muster", "register", "cluster", "--namespace="+s.name, "--cluster=bad", "--kubeconfig="+path)
		if result.Code != 1 || strings.Contains(result.Stderr, canary) {
			t.Errorf("%s: exit status %d, %q", name, result.Code, result.Stderr)
		}
	}
	register := []string{"muster", "register", "cluster", "--namespace=" + s.name, "--cluster=bad"}
	for _, test := range []struct {
		says string
		args []string
	}{
		{"--fleet-cluster-context is not supported", append(register, "--fleet-cluster-context=prod")},
		{"--pullmode is not supported", append(register, "--pullmode")},
		{"--kubeconfig is required", register},
		{"--namespace is required", []string{"muster", "register", "cluster", "--cluster=bad", "--kubeconfig=" + file}},
		{"--cluster is required", []string{"muster", "register", "cluster", "--namespace=" + s.name, "--kubeconfig=" + file}},
		{"--labels", append(register, "--kubeconfig="+file, "--labels=env=a b")},
		{"no such file", append(register, "--kubeconfig="+file+".none")},
		{"not supported yet", []string{"muster", "register", "cluster-eks", "--cluster=bad"}},
		{"unknown flag", append(register, "--no-such-flag")},
		{"unknown command", []string{"muster", "no-such-command"}},
	} {
		if result := s.kubectlFails(test.says, test.args...); result.Code == 0 {
			t.Errorf("%v ends with exit status 0", test.args)
		}
	}
	secrets, err := s.host.CoreV1().Secrets(s.name).List(s.Context(), metav1.ListOptions{})
	if err != nil || len(secrets.Items) != 0 {
		t.Errorf("Secrets left behind: %d, %v", len(secrets.Items), err)
	}
	clusters, err := s.muster.LibV1beta1().SveltosClusters(s.name).List(s.Context(), metav1.ListOptions{})
	if err != nil || len(clusters.Items) != 0 {
		t.Errorf("registrations left behind: %s, %v", asJSON(clusters), err)
	}
}

// withUser replaces the credentials of a kubeconfig with one user's YAML.
func withUser(kubeconfig, user string) string {
	var config map[string]any
	if err := yaml.Unmarshal([]byte(kubeconfig), &config); err != nil {
		panic(err) // it is the fleet's own
	}
	var credentials map[string]any
	if err := yaml.Unmarshal([]byte(user), &credentials); err != nil {
		panic(err) // it is the test's own
	}
	for _, entry := range config["users"].([]any) {
		entry.(map[string]any)["user"] = credentials
	}
	return asJSON(config)
}

func TestCLIShowsAddons(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.register(cluster, s.labels())
	}
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "clusterSelector: {matchLabels: {scope: "+s.name+"}}\n  helmCharts: ["+
		chartEntry(s.chartRepository(), "settings", "1.0.0", s.name+"-chart", "")+"]")
	s.awaitProfile(s.name, "Ready", metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	show := []string{"muster", "show", "addons", "--namespace=" + s.name}

	header, rows := parseBorderedTable(s.kubectl(show...))
	if want := []string{"CLUSTER", "RESOURCE TYPE", "NAMESPACE", "NAME", "VERSION", "TIME", "PROFILES"}; !slices.Equal(header, want) {
		t.Errorf("columns %q, want %q", header, want)
	}
	if len(rows) != 4 {
		t.Fatalf("want a chart and a ConfigMap on two clusters, have %q", rows)
	}
	for i, want := range [][]string{
		{s.name + "/cluster1", ":ConfigMap", contentNamespace, s.name, "N/A"},
		{s.name + "/cluster1", "helm chart", contentNamespace, s.name + "-chart", "1.0.0"},
		{s.name + "/cluster2", ":ConfigMap", contentNamespace, s.name, "N/A"},
		{s.name + "/cluster2", "helm chart", contentNamespace, s.name + "-chart", "1.0.0"},
	} {
		if !slices.Equal(rows[i][:5], want) || rows[i][6] != "ClusterProfile/"+s.name || rows[i][5] == "N/A" {
			t.Errorf("row %d is %q, want %q, a time and the profile", i, rows[i], want)
		}
	}
	if header, _ := parseBorderedTable(s.kubectl(append(show, "-o", "wide")...)); len(header) <= 7 {
		t.Errorf("wide columns are %q", header)
	}
	for filter, want := range map[string]int{
		"--cluster=cluster1": 2, "--cluster=none": 0, "--helm-charts": 2, "--resources": 2,
		"--profile=ClusterProfile/" + s.name: 4, "--profile=Profile/" + s.name: 0,
	} {
		if _, rows := parseBorderedTable(s.kubectl(append(show, filter)...)); len(rows) != want {
			t.Errorf("%s shows %d, want %d: %q", filter, len(rows), want, rows)
		}
	}
	var fromJSON, fromYAML configv1beta1.AddonList
	if err := json.Unmarshal([]byte(s.kubectl(append(show, "-o", "json")...)), &fromJSON); err != nil {
		t.Error(err)
	}
	if err := yaml.Unmarshal([]byte(s.kubectl(append(show, "-o", "yaml")...)), &fromYAML); err != nil {
		t.Error(err)
	}
	if len(fromJSON.Items) != 4 || len(fromYAML.Items) != 4 || fromJSON.Kind != "AddonList" || fromJSON.Items[0].Kind != "Addon" {
		t.Errorf("JSON and YAML have %d and %d items, %s", len(fromJSON.Items), len(fromYAML.Items), asJSON(fromJSON))
	}
	// What is named can be got.
	for _, name := range strings.Fields(s.kubectl(append(show, "-o", "name")...)) {
		s.kubectl("get", name, "--namespace="+s.name)
	}
	s.kubectlFails("unknown output format", append(show, "-o", "xml")...)
	s.kubectlFails("use Kind/name", append(show, "--profile="+s.name)...)
}

func TestCLISelection(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, cluster := range clusterNames() {
		s.register(cluster, s.labels())
	}
	s.apply(s.setManifest(1))
	active := s.awaitOneSelected(s.name)
	selection := func(args ...string) []map[string]string {
		t.Helper()
		_, rows := parseTable(s.kubectl(append([]string{"muster", "selection", s.name}, args...)...))
		return rows
	}
	if rows := selection(); len(rows) != 3 || !strings.Contains(fmt.Sprint(rows[0]), active) || rows[0]["REASON"] != string(libv1beta1.SelectionSelected) {
		t.Errorf("the selection of %s is %v", active, rows)
	}
	if rows := selection("--reason=Standby"); len(rows) != 2 {
		t.Errorf("--reason=Standby shows %v", rows)
	}
	if rows := selection("--limit=1", "--reason=Standby"); len(rows) != 1 {
		t.Errorf("--limit=1 shows %v", rows)
	}
	s.kubectlFails(`reason: Unsupported value: "Handsome"`, "muster", "selection", s.name, "--reason=Handsome")
	s.kubectlFails("limit: Invalid value: -1", "muster", "selection", s.name, "--limit=-1")
	s.kubectlFails("not found", "muster", "selection", s.name+"-none")
	s.kubectlFails("accepts 1 arg", "muster", "selection")
	s.kubectlFails("unknown output format", "muster", "selection", s.name, "-o", "xml")

	// A Set is asked for with its namespace.
	s.apply(strings.NewReplacer("kind: ClusterSet", "kind: Set", "metadata:", "metadata:\n  namespace: "+s.name).Replace(s.setManifest(2)))
	if rows := selection("--namespace="+s.name, "--reason=Selected"); len(rows) != 2 {
		t.Errorf("the Set selects %v, want two", rows)
	}
}

// TestCLIWatchesSelection: every change of the set is shown.
func TestCLIWatchesSelection(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.apply(s.setManifest(0))
	ctx, cancel := context.WithTimeout(s.Context(), deploySoon)
	defer cancel()
	watch := s.fleet.Host.Kubectl().Command(ctx, "muster", "selection", s.name, "--watch")
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	await := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), "cluster1") && strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the watch ended without %q: %v", want, lines.Err())
	}
	await(string(libv1beta1.SelectionStandby))
	s.kubectl("patch", "clusterset", s.name, "--type=merge", "--patch", `{"spec":{"maxReplicas":1}}`)
	await(string(libv1beta1.SelectionSelected))
	s.kubectl("delete", "clusterset", s.name)
	for lines.Scan() {
	}
	if err := watch.Wait(); err == nil {
		t.Error("the watch of a set that was deleted ends with exit status 0")
	}
}

func TestCLIVersionAndCompletion(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	host, err := s.host.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	out := s.kubectl("muster", "version")
	for _, want := range []string{"Client Version: v", "Host Version: " + host.GitVersion, "Muster API: " + libv1beta1.SchemeGroupVersion.String()} {
		if !strings.Contains(out, want) {
			t.Errorf("version has no %q:\n%s", want, out)
		}
	}
	if out := s.kubectl("muster", "version", "--client"); strings.Contains(out, "Host") {
		t.Errorf("version --client asks the host:\n%s", out)
	}
	s.kubectlFails("no-such-context", "muster", "version", "--context=no-such-context")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := s.kubectl("muster", "completion", shell); !strings.Contains(out, "muster") {
			t.Errorf("completion for %s is %q", shell, out)
		}
	}
	if out := s.kubectl("muster", "__complete", "selection", "--reason", ""); !strings.Contains(out, "Standby\n") {
		t.Errorf("--reason completes to:\n%s", out)
	}
	if out := s.kubectl("muster", "--help"); !strings.Contains(out, "kubectl muster") {
		t.Errorf("help is not that of the plugin:\n%s", out)
	}
}
