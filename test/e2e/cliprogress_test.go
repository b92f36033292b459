// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// TestCLIFollowsAProfile: a wait says how far a profile is, and its exit status
// whether it takes a person; what is deployed is shown by what it is and by what it
// is from.
func TestCLIFollowsAProfile(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.register(cluster, s.labels())
	}
	s.applyProfile(s.name, "content", s.everywhere())
	wait := []string{"muster", "wait", s.name, "--timeout=60s"}
	if result := s.kubectlFails("ConfigMap "+s.name+"/content", wait...); result.Code != 2 || !strings.Contains(result.Stdout, "0 of 2 clusters have everything") {
		t.Errorf("waiting for a source that is missing ends with exit status %d:\n%s", result.Code, result.Stdout)
	}
	// So do others that know kstatus.
	s.kubectl("wait", "clusterprofile/"+s.name, "--for=condition=Stalled", "--timeout=20s")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "ConfigMap "+s.name+"/content")

	s.applySource("content", s.name)
	if out := s.kubectl(wait...); !strings.Contains(out, "Provisioned: 2 of 2 clusters have everything") {
		t.Errorf("it says\n%s", out)
	}
	s.kubectl("wait", "clusterprofile/"+s.name, "--for=condition=Ready", "--timeout=20s")
	s.kubectlFails("not found", "muster", "wait", s.name+"-none")

	_, rows := parseTable(s.kubectl("get", "clusterprofile", s.name))
	if len(rows) != 1 || rows[0]["CLUSTERS"] != "2" || rows[0]["PROVISIONED"] != "2" || rows[0]["FAILED"] != "0" {
		t.Errorf("the table is %v", rows)
	}
	s.wantUsage()
	s.wantResources()
	s.kubectlFails("not found", "muster", "redeploy", "cluster", "--namespace="+s.name, "--cluster=none")
	s.kubectlFails("--cluster is required", "muster", "redeploy", "cluster", "--namespace="+s.name)
}

// wantUsage: a profile and its source are used on both clusters.
func (s *scope) wantUsage() {
	s.Helper()
	var used []struct {
		Kind, Namespace, Name string
		Clusters              []string
	}
	for kind, query := range map[string][]string{
		"ClusterProfile": {"--kind=ClusterProfile", "--name=" + s.name}, "ConfigMap": {"--namespace=" + s.name},
	} {
		out := s.kubectl(append([]string{"muster", "show", "usage", "-o", "json"}, query...)...)
		if err := json.Unmarshal([]byte(out), &used); err != nil {
			s.Fatal(err)
		}
		if len(used) != 1 || used[0].Kind != kind || !slices.Equal(used[0].Clusters, []string{s.name + "/cluster1", s.name + "/cluster2"}) {
			s.Errorf("%q shows %+v", query, used)
		}
	}
	header, rows := parseBorderedTable(s.kubectl("muster", "show", "usage", "--namespace="+s.name))
	if want := []string{"RESOURCE KIND", "RESOURCE NAMESPACE", "RESOURCE NAME", "CLUSTERS"}; !slices.Equal(header, want) || len(rows) == 0 {
		s.Errorf("columns %q, want %q; rows %q", header, want, rows)
	}
	s.kubectlFails("unknown --kind", "muster", "show", "usage", "--kind=Pod")
}

// wantResources: the object is on both clusters.
func (s *scope) wantResources() {
	s.Helper()
	show := []string{"muster", "show", "resources", "--cluster-namespace=" + s.name}
	header, rows := parseBorderedTable(s.kubectl(show...))
	if want := []string{"CLUSTER", "GVK", "NAMESPACE", "NAME", "MESSAGE"}; !slices.Equal(header, want) || len(rows) != 2 {
		s.Fatalf("columns %q, want %q; rows %q", header, want, rows)
	}
	for i, cluster := range []string{"cluster1", "cluster2"} {
		want := []string{s.name + "/" + cluster, "/v1, Kind=ConfigMap", contentNamespace, s.name}
		if !slices.Equal(rows[i][:4], want) || !strings.Contains(rows[i][4], "ClusterProfile/"+s.name) {
			s.Errorf("row %d is %q, want %q", i, rows[i], want)
		}
	}
	for filter, want := range map[string]int{
		"--cluster=cluster1": 1, "--kind=ConfigMap": 2, "--kind=Secret": 0, "--group=apps": 0, "--namespace=" + contentNamespace: 2, "--namespace=none": 0,
	} {
		if _, rows := parseBorderedTable(s.kubectl(append(show, filter)...)); len(rows) != want {
			s.Errorf("%s shows %d, want %d: %q", filter, len(rows), want, rows)
		}
	}
}
