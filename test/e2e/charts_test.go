// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// ociCharts is the public registry that the fleet has a mirror of.
const ociCharts = "oci://ghcr.io/kyverno/charts"

// applyCharts applies a ClusterProfile that deploys these charts to all of the
// scope's clusters, and a source where one is named.
func (s *scope) applyCharts(name, from string, charts ...string) {
	s.Helper()
	policies := ""
	if from != "" {
		policies = "policyRefs: [{kind: ConfigMap, namespace: " + s.name + ", name: " + from + "}], "
	}
	s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s}, spec: {%s, %shelmCharts: [%s]}}",
		name, s.everywhere(), policies, strings.Join(charts, ", ")))
}

// hasRelease is a check of what a chart made and of what upstream Helm lists:
// version "" means that there is nothing.
func (s *scope) hasChart(cluster, release, version, color string) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := s.content(ctx, cluster, release)
		if err != nil {
			return err
		}
		if (found != nil) != (version != "") || found != nil && (found.Data["version"] != version || found.Data["color"] != color) {
			return fmt.Errorf("what the chart makes is %s, want version %q and color %q", asJSON(found), version, color)
		}
		listed := (&scenario{scope: s}).helmList(cluster)
		i := slices.IndexFunc(listed, func(r map[string]string) bool { return r["name"] == release })
		if (i >= 0) != (version != "") || i >= 0 && (listed[i]["chart"] != "settings-"+version || listed[i]["status"] != "deployed") {
			return fmt.Errorf("helm lists %v, want settings-%s", listed, version)
		}
		return nil
	}
}

func (s *scope) awaitChart(cluster, release, version, color string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s in %s is at %q and %s", release, cluster, version, color), deploySoon, s.hasChart(cluster, release, version, color))
}

// wantHelmRollback sees to it that Helm itself went back to a revision of a release.
func (s *scope) wantHelmRollback(cluster, release string, revision int) {
	s.Helper()
	out, err := exec.CommandContext(s.Context(), filepath.Join(s.root, "bin", "helm"), "history", release, "--namespace="+contentNamespace,
		"--output=json", "--kubeconfig="+s.fleet.Managed(cluster).DirectKubeconfigFile()).Output()
	if want := fmt.Sprintf(`"description":"Rollback to %d"`, revision); err != nil || !strings.Contains(string(out), want) {
		s.Errorf("its history is %s, %v; want %s", out, err, want)
	}
}

// TestCharts installs a chart, changes its values and its version, and takes
// it away in each way that there is.
func TestCharts(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	s.register("cluster1", s.labels())
	s.applyCharts(s.name, "", chartEntry(repository, "settings", "1.0.0", s.name, ""))
	s.provisioned(s.name)
	if err := s.hasChart("cluster1", s.name, "1.0.0", "grey")(s.Context()); err != nil {
		t.Fatal(err)
	}
	untouched := s.staysUntouched("cluster1", s.name)
	summary, err := s.summary(s.Context(), s.name, "cluster1")
	if err != nil {
		t.Fatal(err)
	}
	if r := summary.Status.HelmReleaseSummaries; len(r) != 1 || r[0].ReleaseName != s.name || r[0].Status != configv1beta1.HelmChartStatusManaging {
		t.Errorf("the summary's releases are %s", asJSON(r))
	}
	s.applyCharts(s.name, "", chartEntry(repository, "settings", "1.0.0", s.name, `, values: "color: '{{ .Cluster.metadata.name }}'"`))
	s.awaitChart("cluster1", s.name, "1.0.0", "cluster1")
	s.applyCharts(s.name, "", chartEntry(repository, "settings", "1.1.0", s.name, `, values: "color: red"`))
	s.awaitChart("cluster1", s.name, "1.1.0", "red")
	if err := untouched(s.Context()); err != nil {
		t.Errorf("an upgrade replaced what was there: %v", err)
	}
	s.kubectl("muster", "rollback", s.name, "--to-revision=2")
	s.awaitChart("cluster1", s.name, "1.0.0", "cluster1")
	s.wantHelmRollback("cluster1", s.name, 2)
	second := chartEntry(repository, "settings", "1.0.0", s.name+"-2", "")
	s.applyCharts(s.name, "", second, chartEntry(repository, "settings", "1.1.0", s.name, ", helmChartAction: Uninstall"))
	s.awaitChart("cluster1", s.name, "", "")
	s.awaitChart("cluster1", s.name+"-2", "1.0.0", "grey")
	s.applyCharts(s.name, "", second, chartEntry(repository, "settings", "1.1.0", s.name+"-3", ""))
	s.awaitChart("cluster1", s.name+"-3", "1.1.0", "grey")
	s.applyCharts(s.name, "", second) // an entry that goes takes its release along
	s.awaitChart("cluster1", s.name+"-3", "", "")
	s.kubectl("delete", "clusterprofile", s.name)
	if err := s.hasChart("cluster1", s.name+"-2", "", "")(s.Context()); err != nil {
		t.Error(err)
	}
}

// TestReleaseConflict: a release has one owner.
func TestReleaseConflict(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	a, b := s.name+"-a", s.name+"-b"
	s.register("cluster1", s.labels())
	s.applyCharts(a, "", chartEntry(repository, "settings", "1.0.0", s.name, ""))
	s.provisioned(a)
	untouched := s.staysUntouched("cluster1", s.name)
	s.applyCharts(b, "", chartEntry(repository, "settings", "1.1.0", s.name, ""))
	s.awaitFailure(b, "cluster1", configv1beta1.ReasonConflict, contentNamespace+"/"+s.name, "ClusterProfile "+a)
	summary, err := s.summary(s.Context(), b, "cluster1")
	if err != nil {
		t.Fatal(err)
	}
	if r := summary.Status.HelmReleaseSummaries; len(r) != 1 || r[0].Status != configv1beta1.HelmChartStatusConflict || !strings.Contains(r[0].ConflictMessage, a) {
		t.Errorf("the loser's releases are %s", asJSON(r))
	}
	s.always("the owner's version stays", settle, s.hasChart("cluster1", s.name, "1.0.0", "grey"))
	s.kubectl("delete", "clusterprofile", a)
	s.awaitChart("cluster1", s.name, "1.1.0", "grey")
	s.provisioned(b)
	if err := untouched(s.Context()); err != nil {
		t.Errorf("it was deleted on its way to another owner: %v", err)
	}
}

// TestBadCharts: a chart that cannot be had or used is named where users look,
// and disturbs nothing that works.
func TestBadCharts(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	s.register("cluster1", s.labels())
	s.applySource("content", s.name)
	good := chartEntry(repository, "settings", "1.0.0", s.name+"-good", "")
	s.applyCharts(s.name, "content", good)
	s.provisioned(s.name)
	objects, release := s.staysUntouched("cluster1", s.name), s.staysUntouched("cluster1", s.name+"-good")
	for _, bad := range []struct{ name, entry, reason, says string }{
		{"no such chart", chartEntry(repository, "nowhere", "1.0.0", s.name+"-bad", ""), configv1beta1.ReasonSourceMissing, "nowhere"},
		{"no such version", chartEntry(repository, "settings", "9.9.9", s.name+"-bad", ""), configv1beta1.ReasonSourceMissing, "9.9.9"},
		{"no archive", chartEntry(repository, "absent", "1.0.0", s.name+"-bad", ""), configv1beta1.ReasonSourceMissing, "absent"},
		{"no chart in the archive", chartEntry(repository, "broken", "1.0.0", s.name+"-bad", ""), configv1beta1.ReasonSourceInvalid, "broken"},
		{"does not render", chartEntry(repository, "unrenderable", "1.0.0", s.name+"-bad", ""), configv1beta1.ReasonSourceInvalid, "unrenderable"},
		{"renders garbage", chartEntry(repository, "garbage", "1.0.0", s.name+"-bad", ""), configv1beta1.ReasonSourceInvalid, "garbage"},
		{"no repository", chartEntry("http://127.0.0.1:1", "settings", "1.0.0", s.name+"-bad", ""), configv1beta1.ReasonFailed, "127.0.0.1:1"},
	} {
		s.applyCharts(s.name, "content", good, bad.entry)
		s.Log(bad.name)
		s.awaitFailure(s.name, "cluster1", bad.reason, bad.says)
		for _, check := range []func(context.Context) error{objects, release, s.hasChart("cluster1", s.name+"-good", "1.0.0", "grey"), s.hasChart("cluster1", s.name+"-bad", "", "")} {
			if err := check(s.Context()); err != nil {
				t.Errorf("%s: %v", bad.name, err)
			}
		}
	}
	s.applyCharts(s.name, "content", good)
	s.provisioned(s.name)
}

// TestLargeChart deploys the stand-in for the public chart, out of an OCI
// registry, and upgrades it. It has cluster-scoped objects, so nobody else may
// deploy it meanwhile.
func TestLargeChart(t *testing.T) {
	s := newScope(t)
	s.register("cluster3", s.labels())
	kubectl := s.fleet.Managed("cluster3").Kubectl()
	s.later(func(ctx context.Context) error {
		_, err := kubectl.Run(ctx, "delete", "namespace", "kyverno", "--ignore-not-found", "--wait=false")
		return err
	})
	for _, version := range []string{"3.0.1", "3.3.3"} {
		s.applyCharts(s.name, "", fmt.Sprintf("{repositoryURL: %q, repositoryName: kyverno, chartName: kyverno, chartVersion: %s, releaseName: %s, releaseNamespace: kyverno, values: %q}",
			ociCharts, version, releaseName, "policies: {validationFailureAction: Enforce}"))
		s.provisioned(s.name)
		s.eventually("helm lists "+version, deploySoon, func(context.Context) error {
			for _, r := range (&scenario{scope: s}).helmList("cluster3") {
				if r["name"] == releaseName && r["chart"] == "kyverno-"+version && r["status"] == "deployed" {
					return nil
				}
			}
			return fmt.Errorf("helm lists %v", (&scenario{scope: s}).helmList("cluster3"))
		})
		out, err := kubectl.Run(s.Context(), "get", "clusterpolicies.kyverno.io", "-o", "jsonpath={.items[*].spec.validationFailureAction}")
		if err != nil || !strings.Contains(out.Stdout, "Enforce") {
			t.Errorf("at %s the values are not obeyed: %q, %v", version, out.Stdout, err)
		}
	}
	s.kubectl("delete", "clusterprofile", s.name)
	if listed := (&scenario{scope: s}).helmList("cluster3"); len(listed) != 0 {
		t.Errorf("after the profile's deletion helm lists %v", listed)
	}
	_, err := s.managed["cluster3"].AppsV1().Deployments("kyverno").Get(s.Context(), "kyverno-admission-controller", metav1.GetOptions{})
	if err == nil {
		t.Error("the chart's Deployment outlives its release")
	}
}
