// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// depot is a test that deploys the chart depot to cluster1.
type depot struct {
	*scope
	repository string
}

func newDepot(t *testing.T) *depot {
	t.Helper()
	s := newScope(t)
	group := s.name + ".example.com"
	kubectl := s.fleet.Managed("cluster1").Kubectl()
	s.later(func(ctx context.Context) error {
		// Helm deletes no definitions; hooks and the records of releases stay as well.
		_, err := kubectl.Run(ctx, "delete", "crd", "crates."+group, "--ignore-not-found", "--wait=false")
		_, jobs := kubectl.Run(ctx, "delete", "job", s.name+"-check", s.name+"-migrate", "--namespace="+contentNamespace, "--ignore-not-found", "--wait=false")
		_, records := kubectl.Run(ctx, "delete", "secret", "--namespace="+contentNamespace, "--selector=owner=helm,name="+s.name)
		return errors.Join(err, jobs, records)
	})
	s.register("cluster1", s.labels())
	return &depot{s, serveDepot(t, group, "1.0.0", "1.1.0")}
}

// deploy asks for a version of the chart with these options and further fields.
func (d *depot) deploy(profile, version, options, more string) {
	d.Helper()
	d.applyCharts(profile, "", chartEntry(d.repository, "depot", version, d.name, ", options: {"+options+"}"+more))
}

// reportSet sets the status of the StatefulSet, as its controller would if Pods ran.
func (d *depot) reportSet(ready int32) {
	d.Helper()
	sets := d.managed["cluster1"].AppsV1().StatefulSets(contentNamespace)
	d.eventually("the StatefulSet is reported", deploySoon, func(ctx context.Context) error {
		set, err := sets.Get(ctx, d.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		set.Status.ObservedGeneration, set.Status.Replicas = set.Generation, *set.Spec.Replicas
		set.Status.UpdatedReplicas, set.Status.ReadyReplicas = *set.Spec.Replicas, ready
		set.Status.CurrentRevision, set.Status.UpdateRevision = "1", "1"
		_, err = sets.UpdateStatus(ctx, set, metav1.UpdateOptions{})
		return err
	})
}

// endJob ends a Job of the release if it runs, well or not.
func (d *depot) endJob(ctx context.Context, name string, well bool) error {
	jobs := d.managed["cluster1"].BatchV1().Jobs(contentNamespace)
	job, err := jobs.Get(ctx, d.name+"-"+name, metav1.GetOptions{})
	if err != nil || len(job.Status.Conditions) > 0 {
		return err
	}
	now := metav1.Now()
	conditions := []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed}
	job.Status.StartTime, job.Status.Failed = &now, 1
	if well {
		conditions = []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete}
		job.Status.CompletionTime, job.Status.Failed, job.Status.Succeeded = &now, 0, 1
	}
	for _, condition := range conditions {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: now, LastProbeTime: now, Reason: "AsTested"})
	}
	_, err = jobs.UpdateStatus(ctx, job, metav1.UpdateOptions{})
	return err
}

// awaitEnding waits for check, and ends the release's Jobs of this name meanwhile.
func (d *depot) awaitEnding(what, job string, well bool, check func(context.Context) error) {
	d.Helper()
	d.eventually(what, deploySoon, func(ctx context.Context) error {
		if err := check(ctx); err != nil {
			return errors.Join(err, d.endJob(ctx, job, well))
		}
		return nil
	})
}

// fails is a check that a profile has failed and says this.
func (d *depot) fails(profile string, says ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		summary, err := d.summary(ctx, profile, "cluster1")
		if err != nil || summary == nil {
			return errors.Join(errors.New("there is no summary"), err)
		}
		if err := condition(summary.Status.Conditions, configv1beta1.ConditionReady, metav1.ConditionFalse, ""); err != nil {
			return err
		}
		releases := summary.Status.HelmReleaseSummaries
		if len(releases) != 1 || releases[0].FailureMessage == nil {
			return fmt.Errorf("no release has failed: %s", asJSON(summary.Status))
		}
		return saysAll("the release", *releases[0].FailureMessage, says)
	}
}

// ready is a check that a profile is deployed as it is now.
func (d *depot) ready(profile string) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := d.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, profile, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range found.Status.Conditions {
			if c.Type == configv1beta1.ConditionReady && c.Status == metav1.ConditionTrue && c.ObservedGeneration == found.Generation {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %s", asJSON(found.Status.Conditions))
	}
}

// helmStatus is what upstream's helm says of the release; it returns an error if there
// is none.
func (d *depot) helmStatus() (status struct {
	Version int
	Info    struct{ Status, Description, Notes string }
}, err error) {
	out, err := exec.CommandContext(d.Context(), d.path("bin/helm"), "status", d.name, "--namespace="+contentNamespace, "--output=json",
		"--kubeconfig="+d.fleet.Managed("cluster1").DirectKubeconfigFile()).Output()
	if err == nil {
		err = json.Unmarshal(out, &status)
	}
	return status, err
}

// hasVersion is a check of what the chart has made.
func (d *depot) hasVersion(version, color string) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := d.content(ctx, "cluster1", d.name)
		if err != nil {
			return err
		}
		if found == nil || found.Data["version"] != version || found.Data["color"] != color {
			return fmt.Errorf("it is %s, want %s in %s", asJSON(found), version, color)
		}
		return nil
	}
}

// TestHelmOptions takes a chart as people write them through its life, with the options
// of a release that need a real cluster.
func TestHelmOptions(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	d.waitsAndTests()
	d.changesWhileItWaits()
	d.rollsBack()
	d.upgradesDefinitions()
	d.keepsHistory()
}

// waitsAndTests: a release is deployed when it is ready and its tests have passed, and
// nobody else waits for it.
func (d *depot) waitsAndTests() {
	d.Helper()
	d.deploy(d.name, "1.0.0", `wait: true, runTests: true, timeout: 2m, labels: {team: "{{ .Cluster.metadata.name }}"}, description: as tested`,
		`, values: "peer: `+d.name+`-beside"`)
	d.awaitContent("cluster1", true, d.name)
	beside := d.name + "-beside"
	d.applySource("beside", beside)
	d.applyProfile(beside, "beside", d.everywhere())
	d.provisioned(beside)
	if err := d.ready(d.name)(d.Context()); err == nil {
		d.Error("a release whose Pods never ran counts as deployed")
	}
	d.reportSet(1)
	d.awaitEnding("a test fails", "check", false, d.fails(d.name, "a test of the chart failed", "Job "+contentNamespace+"/"+d.name+"-check", "AsTested"))
	d.awaitEnding("the test passes", "check", true, d.ready(d.name))
	status, err := d.helmStatus()
	if err != nil || status.Version != 1 || status.Info.Status != "deployed" || status.Info.Description != "as tested" {
		d.Errorf("helm status says %+v, %v", status, err)
	}
	records, err := d.managed["cluster1"].CoreV1().Secrets(contentNamespace).List(d.Context(), metav1.ListOptions{LabelSelector: "owner=helm,team=cluster1,name=" + d.name})
	if err != nil || len(records.Items) != 1 {
		d.Errorf("%d records have the label, %v", len(records.Items), err)
	}
	if out, err := d.fleet.Managed("cluster1").Kubectl().Run(d.Context(), "get", "crates."+d.name+".example.com", d.name, "--namespace="+contentNamespace, "-o", "jsonpath={.spec.size}"); err != nil || out.Stdout != "1" {
		d.Errorf("the object of the chart's kind: %q, %v", out.Stdout, err)
	}
}

// changesWhileItWaits: who sees that a release never becomes ready can change it at once.
func (d *depot) changesWhileItWaits() {
	d.Helper()
	d.deploy(d.name, "1.0.0", "wait: true, timeout: 10m, upgradeOptions: {disableHooks: true}", `, values: "replicas: 2"`)
	d.eventually("the StatefulSet is changed", deploySoon, func(ctx context.Context) error {
		set, err := d.managed["cluster1"].AppsV1().StatefulSets(contentNamespace).Get(ctx, d.name, metav1.GetOptions{})
		if err == nil && *set.Spec.Replicas != 2 {
			err = fmt.Errorf("it has %d replicas", *set.Spec.Replicas)
		}
		return err
	})
	d.deploy(d.name, "1.0.0", "upgradeOptions: {disableHooks: true}", `, values: "color: green\npeer: `+d.name+`-beside"`)
	d.provisioned(d.name)
	if err := d.hasVersion("1.0.0", "green")(d.Context()); err != nil {
		d.Error(err)
	}
	if found, err := d.content(d.Context(), "cluster1", d.name); err != nil || found.Data["peer"] != "muster" {
		d.Errorf("the chart has looked up %s, %v", asJSON(found), err)
	}
	// What the description and the labels were said to be, they are not any more.
	if status, err := d.helmStatus(); err != nil || status.Info.Description == "as tested" {
		d.Errorf("helm status says %+v, %v", status, err)
	}
	d.reportSet(1)
}

// rollsBack: an upgrade whose hook fails leaves the release as it was, where that is
// asked for, and names the hook.
func (d *depot) rollsBack() {
	d.Helper()
	untouched := d.staysUntouched("cluster1", d.name)
	d.deploy(d.name, "1.1.0", "atomic: true, timeout: 1m", `, values: "color: red"`)
	d.awaitEnding("the hook fails", "migrate", false, d.fails(d.name, "rolled back", "Job "+contentNamespace+"/"+d.name+"-migrate", "AsTested"))
	for _, check := range []func(context.Context) error{untouched, d.hasVersion("1.0.0", "green")} {
		if err := check(d.Context()); err != nil {
			d.Error(err)
		}
	}
	d.deploy(d.name, "1.1.0", "disableHooks: true", `, values: "color: red"`)
	d.awaitEnding("it is upgraded without hooks", "migrate", false, d.ready(d.name))
	if err := d.hasVersion("1.1.0", "red")(d.Context()); err != nil {
		d.Error(err)
	}
}

// upgradesDefinitions: an upgrade brings definitions up to date where that is asked for.
func (d *depot) upgradesDefinitions() {
	d.Helper()
	columns := func() string {
		out, err := d.fleet.Managed("cluster1").Kubectl().Run(d.Context(), "get", "crd", "crates."+d.name+".example.com",
			"-o", "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}")
		if err != nil {
			d.Fatal(err)
		}
		return out.Stdout
	}
	if got := columns(); got != "" {
		d.Errorf("the upgrade before has changed the definition: %q", got)
	}
	d.deploy(d.name, "1.1.0", "disableHooks: true, upgradeOptions: {upgradeCRDs: true}", `, values: "color: blue"`)
	d.provisioned(d.name)
	if got := columns(); got != "Size" {
		d.Errorf("the definition's columns are %q", got)
	}
}

// keepsHistory: how a release is to be uninstalled is known when its profile is gone,
// also if it was said after it was deployed.
func (d *depot) keepsHistory() {
	d.Helper()
	before, err := d.helmStatus()
	if err != nil {
		d.Fatal(err)
	}
	d.deploy(d.name, "1.1.0", "disableHooks: true, uninstallOptions: {keepHistory: true, deletionPropagation: background}", `, values: "color: blue"`)
	d.provisioned(d.name)
	if status, err := d.helmStatus(); err != nil || status.Version != before.Version {
		d.Errorf("that alone was an upgrade: %+v, %v", status, err)
	}
	d.kubectl("delete", "clusterprofile", d.name)
	d.awaitContent("cluster1", false, d.name, d.name+"-shelf")
	if status, err := d.helmStatus(); err != nil || status.Info.Status != "uninstalled" {
		d.Errorf("helm status says %+v, %v", status, err)
	}
}

// TestTakeOwnership: a release takes over what was made by hand where that is asked for,
// and nothing from a profile.
func TestTakeOwnership(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	s.register("cluster1", s.labels())
	made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: s.name}, Data: map[string]string{"by": "hand"}}
	if _, err := s.managed["cluster1"].CoreV1().ConfigMaps(contentNamespace).Create(s.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	untouched := s.staysUntouched("cluster1", s.name)
	s.applyCharts(s.name, "", chartEntry(repository, "settings", "1.0.0", s.name, ""))
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "ConfigMap", s.name, "cannot be imported")
	s.applyCharts(s.name, "", chartEntry(repository, "settings", "1.0.0", s.name, ", options: {installOptions: {takeOwnership: true}}"))
	s.provisioned(s.name)
	if err := errors.Join(untouched(s.Context()), s.hasChart("cluster1", s.name, "1.0.0", "grey")(s.Context())); err != nil {
		t.Error(err)
	}

	other := s.name + "-other"
	s.applySource("content", other)
	s.applyProfile(other, "content", s.everywhere())
	s.provisioned(other)
	s.applyCharts(s.name+"-greedy", "", chartEntry(repository, "settings", "1.0.0", other, ", options: {installOptions: {takeOwnership: true}}"))
	s.awaitFailure(s.name+"-greedy", "cluster1", configv1beta1.ReasonFailed, "ConfigMap", other, "ClusterProfile "+other)
	s.kubectl("delete", "clusterprofile", s.name+"-greedy")
	found, err := s.content(s.Context(), "cluster1", other)
	if err != nil || found == nil || found.Data["by"] != "muster" {
		t.Errorf("the profile's object is %s, %v", asJSON(found), err)
	}
}

// TestReleaseHandOver: a release goes from one profile to another when the cluster's
// labels do, or a tier, and nothing is uninstalled between.
func TestReleaseHandOver(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	repository := s.chartRepository()
	a, b := s.name+"-a", s.name+"-b"
	s.register("cluster1", map[string]string{"scope": s.name, "stage": "a"})
	apply := func(name, stage, version string) {
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s}, spec: {clusterSelector: {matchLabels: {scope: %s, stage: %s}}, helmCharts: [%s]}}",
			name, s.name, stage, chartEntry(repository, "settings", version, s.name, "")))
	}
	apply(a, "a", "1.0.0")
	apply(b, "b", "1.1.0")
	s.provisioned(a)
	untouched := s.staysUntouched("cluster1", s.name)
	for i, stage := range []string{"b", "a", "b"} {
		s.kubectl("label", "sveltoscluster", "cluster1", "--namespace="+s.name, "--overwrite", "stage="+stage)
		version := []string{"1.1.0", "1.0.0"}[i%2]
		s.awaitChart("cluster1", s.name, version, "grey")
		if err := untouched(s.Context()); err != nil {
			t.Errorf("it was deleted on its way to %s: %v", stage, err)
		}
	}
	s.awaitNoSummary(a, "cluster1")
	// A profile with a lower tier takes it, and gives it back.
	s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s-c}, spec: {tier: 50, %s, helmCharts: [%s]}}",
		s.name, s.everywhere(), chartEntry(repository, "settings", "1.0.0", s.name, "")))
	s.awaitChart("cluster1", s.name, "1.0.0", "grey")
	s.kubectl("delete", "clusterprofile", s.name+"-c")
	s.awaitChart("cluster1", s.name, "1.1.0", "grey")
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
}
