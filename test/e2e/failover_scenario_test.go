// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// What the manifests in artifacts/examples/failover name.
const (
	examples      = "artifacts/examples/failover/"
	scenarioSpace = "civo"
	scenarioSet   = "prod"
	profileName   = "kyverno"
	releaseName   = "kyverno-latest"
	releaseSpace  = "kyverno"
)

// The scenario from the README, unedited and through stock kubectl, in both API
// versions.
func TestFailoverScenario(t *testing.T) {
	for _, run := range []scenario{
		{version: "v1beta1", set: examples + "clusterset.yaml", profile: examples + "clusterprofile.yaml", chart: "3.3.3"},
		{version: "v1alpha1", set: examples + "clusterset-v1alpha1.yaml", profile: examples + "clusterprofile-v1alpha1.yaml", chart: "3.0.1"},
	} {
		t.Run(run.version, func(t *testing.T) {
			run.scope = newNamedScope(t, scenarioSpace).breaks()
			run.register()
			run.selectOne()
			run.deploy()
			run.failOver()
			run.bringBack()
		})
	}
}

// scenario is one run, and how far it is.
type scenario struct {
	*scope
	version      string // of the manifests
	set, profile string // their files
	chart        string // the chart's version

	active, standby string
}

func (s *scenario) register() {
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.scope.register(cluster, map[string]string{"env": "prod"})
	}
	rows := s.clusterRows()
	if len(rows) != 2 {
		s.Fatalf("want two clusters, have %v", rows)
	}
	for _, row := range rows {
		version := s.kubernetesVersion(row["NAME"])
		if row["READY"] != "true" || row["VERSION"] != version {
			s.Errorf("want READY true and VERSION %s, have %v", version, row)
		}
		labels := strings.Split(row["LABELS"], ",")
		for _, label := range []string{"env=prod", libv1beta1.LabelK8sVersion + "=" + version} {
			if !slices.Contains(labels, label) {
				s.Errorf("want label %s, have %v", label, row)
			}
		}
	}
}

// clusterRows are the scenario's rows of kubectl's table of clusters.
func (s *scenario) clusterRows() []map[string]string {
	s.Helper()
	header, rows := parseTable(s.kubectl("get", "sveltoscluster", "-A", "--show-labels"))
	if want := []string{"NAMESPACE", "NAME", "READY", "VERSION", "AGE", "LABELS"}; !slices.Equal(header, want) {
		s.Fatalf("columns are %q, want %q", header, want)
	}
	return slices.DeleteFunc(rows, func(row map[string]string) bool { return row["NAMESPACE"] != scenarioSpace })
}

// kubernetesVersion is the real one of a managed cluster.
func (s *scenario) kubernetesVersion(cluster string) string {
	s.Helper()
	info, err := s.managed[cluster].Discovery().ServerVersion()
	if err != nil {
		s.Fatal(err)
	}
	return info.GitVersion
}

func (s *scenario) selectOne() {
	s.applyFile(s.set)
	s.active = s.awaitOneSelected(scenarioSet)
	s.standby = map[string]string{"cluster1": "cluster2", "cluster2": "cluster1"}[s.active]
	s.wantRefs([]string{"cluster1", "cluster2"}, s.active)
	s.wantLossless("clustersets.%s.lib.projectsveltos.io", scenarioSet, s.set)
}

// wantRefs compares the set's references with these clusters, as they are read
// at either version.
func (s *scenario) wantRefs(matching []string, selected string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%q match and %s is selected", matching, selected), soon, func(ctx context.Context) error {
		for _, version := range []string{"v1beta1", "v1alpha1"} {
			result, err := s.fleet.Kubectl(ctx, "get", "clustersets."+version+".lib.projectsveltos.io", scenarioSet, "-o", "json")
			if err != nil {
				return err
			}
			var set struct {
				APIVersion string `json:"apiVersion"`
				Status     struct {
					Matching []map[string]string `json:"matchingClusterRefs"`
					Selected []map[string]string `json:"selectedClusterRefs"`
				} `json:"status"`
			}
			if err := json.Unmarshal([]byte(result.Stdout), &set); err != nil {
				return fmt.Errorf("reading the set at %s: %w", version, err)
			}
			reference := func(cluster string) map[string]string {
				return map[string]string{
					"apiVersion": "lib.projectsveltos.io/" + version, "kind": "SveltosCluster", "namespace": scenarioSpace, "name": cluster,
				}
			}
			slices.SortFunc(set.Status.Matching, func(a, b map[string]string) int { return strings.Compare(a["name"], b["name"]) })
			if set.APIVersion != "lib.projectsveltos.io/"+version ||
				!slices.EqualFunc(set.Status.Matching, matching, func(ref map[string]string, name string) bool { return maps.Equal(ref, reference(name)) }) ||
				len(set.Status.Selected) != 1 || !maps.Equal(set.Status.Selected[0], reference(selected)) {
				return fmt.Errorf("it is %s", asJSON(set))
			}
		}
		return nil
	})
}

// wantLossless reads an object at either version, writes it back as it was
// read, and finds nothing changed; and everything that the applied manifest
// says is there at the version that it was applied at.
func (s *scenario) wantLossless(resource, name, file string) {
	s.Helper()
	read := func(version string) (text string, object map[string]any) {
		s.Helper()
		text = s.kubectl("get", fmt.Sprintf(resource, version), name, "-o", "json")
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			s.Fatal(err)
		}
		return text, object
	}
	data, err := os.ReadFile(s.path(file))
	if err != nil {
		s.Fatal(err)
	}
	var manifest map[string]any
	if err := yaml.Unmarshal(data, &manifest); err != nil {
		s.Fatal(err)
	}
	_, applied := read(s.version)
	if err := contains(applied, manifest); err != nil {
		s.Errorf("%s reads back at %s: %v", file, s.version, err)
	}
	_, before := read("v1beta1")
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		text, _ := read(version)
		if _, err := s.fleet.Host.Kubectl().Input(s.Context(), text, "replace", "-f", "-"); err != nil {
			s.Fatal(err)
		}
		_, after := read("v1beta1")
		if !reflect.DeepEqual(before["spec"], after["spec"]) {
			s.Errorf("writing back what was read at %s changed the spec:\n%s\nis now\n%s", version, asJSON(before["spec"]), asJSON(after["spec"]))
		}
		if was, is := before["metadata"].(map[string]any)["generation"], after["metadata"].(map[string]any)["generation"]; was != is {
			s.Errorf("writing back what was read at %s moved the generation from %v to %v", version, was, is)
		}
	}
}

func (s *scenario) deploy() {
	s.applyFile(s.profile)
	s.wantDeployed(s.active)
	if there, err := s.observer.Released(s.Context(), s.standby, releaseSpace, releaseName); err != nil || there {
		s.Errorf("%s, which is not selected, has the release: %t, %v", s.standby, there, err)
	}
	s.wantAddons(s.active)
	s.wantLossless("clusterprofiles.%s.config.projectsveltos.io", profileName, s.profile)
}

// wantDeployed waits until the profile has followed to a cluster and the
// release is there, and asks Helm itself.
func (s *scenario) wantDeployed(cluster string) {
	s.Helper()
	s.eventually("the release is in "+cluster, failoverSoon, func(ctx context.Context) error {
		there, err := s.observer.Released(ctx, cluster, releaseSpace, releaseName)
		if err == nil && !there {
			err = errors.New("it is not")
		}
		return err
	})
	s.eventually("ClusterProfile.status.matchingClusters names "+cluster, soon, func(ctx context.Context) error {
		profile, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, profileName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		matching := profile.Status.MatchingClusters
		if len(matching) != 1 || matching[0].Name != cluster || matching[0].Namespace != scenarioSpace {
			return fmt.Errorf("it is %s", asJSON(matching))
		}
		return nil
	})
	releases := s.helmList(cluster)
	if len(releases) != 1 || releases[0]["name"] != releaseName || releases[0]["namespace"] != releaseSpace ||
		releases[0]["status"] != "deployed" || releases[0]["chart"] != "kyverno-"+s.chart {
		s.Errorf("helm list in %s: %v", cluster, releases)
	}
	// What the chart is for: kinds of its own, and objects of them.
	if _, err := s.fleet.Managed(cluster).Kubectl().Run(s.Context(), "get", "clusterpolicies.kyverno.io", "-o", "name"); err != nil {
		s.Error(err)
	}
}

// helmList is what upstream Helm lists in a managed cluster.
func (s *scenario) helmList(cluster string) []map[string]string {
	s.Helper()
	kubeconfig := s.fleet.Managed(cluster).DirectKubeconfigFile()
	out, err := exec.CommandContext(s.Context(), s.path("bin/helm"), "list", "--all-namespaces", "--output=json", "--kubeconfig="+kubeconfig).Output()
	if err != nil {
		s.Fatalf("helm list: %v", err)
	}
	var releases []map[string]string
	if err := json.Unmarshal(out, &releases); err != nil {
		s.Fatalf("helm list printed %s: %v", out, err)
	}
	return releases
}

// wantAddons waits until "show addons" has exactly one row for each of these
// clusters.
func (s *scenario) wantAddons(clusters ...string) {
	s.Helper()
	slices.Sort(clusters)
	s.eventually(fmt.Sprintf("show addons has %q", clusters), deploySoon, func(ctx context.Context) error {
		result, err := s.fleet.Kubectl(ctx, "muster", "show", "addons")
		if err != nil {
			return err
		}
		header, rows := parseBorderedTable(result.Stdout)
		if want := []string{"CLUSTER", "RESOURCE TYPE", "NAMESPACE", "NAME", "VERSION", "TIME", "PROFILES"}; !slices.Equal(header, want) {
			return fmt.Errorf("its columns are %q, want %q", header, want)
		}
		if len(rows) != len(clusters) {
			return fmt.Errorf("it is\n%s", result.Stdout)
		}
		for i, cluster := range clusters {
			want := []string{scenarioSpace + "/" + cluster, "helm chart", releaseSpace, releaseName, s.chart, rows[i][5], "ClusterProfile/" + profileName}
			if !slices.Equal(rows[i], want) || len(rows[i][5]) < len("2006-01-02 15:04:05") {
				return fmt.Errorf("row %d is %q, want %q", i, rows[i], want)
			}
		}
		return nil
	})
}

func (s *scenario) failOver() {
	if err := s.fleet.Managed(s.active).Kill(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.awaitReady(s.active, false)
	for _, row := range s.clusterRows() {
		if want := map[string]string{s.standby: "true"}[row["NAME"]]; row["READY"] != want {
			s.Errorf("READY of %s is %q, want %q", row["NAME"], row["READY"], want)
		}
	}
	s.wantRefs([]string{s.standby}, s.standby)
	s.wantDeployed(s.standby)
	// The dead one still has it: nobody could take it away.
	s.wantAddons(s.active, s.standby)
	if err := s.hasReason(scenarioSet, s.active, libv1beta1.SelectionReturning)(s.Context()); err != nil {
		s.Error(err)
	}
}

func (s *scenario) bringBack() {
	if err := s.fleet.Managed(s.active).Restart(s.Context()); err != nil {
		s.Fatal(err)
	}
	// Whenever it counts as Standby, what it carried is gone already.
	s.eventually(s.active+" is a candidate again", failoverSoon, func(ctx context.Context) error {
		candidate, err := s.candidate(ctx, scenarioSet, s.active)
		if err != nil {
			return err
		}
		there, err := s.observer.Released(ctx, s.active, releaseSpace, releaseName)
		switch {
		case err != nil:
			return err
		case candidate.Reason == libv1beta1.SelectionReturning:
			return fmt.Errorf("it is %s and Returning, has the release: %t", candidate.State, there)
		case candidate.Reason != libv1beta1.SelectionStandby || there:
			s.Fatalf("after its return %s is %s and %s, has the release: %t", s.active, candidate.State, candidate.Reason, there)
		}
		return nil
	})
	if releases := s.helmList(s.active); len(releases) != 0 {
		s.Errorf("helm list in %s: %v", s.active, releases)
	}
	s.wantRefs([]string{"cluster1", "cluster2"}, s.standby)
	s.wantDeployed(s.standby)
	s.wantAddons(s.standby)
	for _, row := range s.clusterRows() {
		if row["READY"] != "true" {
			s.Errorf("after the return: %v", row)
		}
	}
}
