// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// history is what is recorded of the scope's ClusterProfile.
func (s *scope) history() (*configv1beta1.ProfileHistory, error) {
	result, err := s.fleet.Kubectl(s.Context(), "muster", "history", s.name, "-o", "json")
	if err != nil {
		return nil, err
	}
	out := &configv1beta1.ProfileHistory{}
	return out, json.Unmarshal([]byte(result.Stdout), out)
}

// awaitHistory waits until the revisions, the latest first, are as wanted: each with
// its number, its cause, and how it is.
func (s *scope) awaitHistory(want ...string) {
	s.Helper()
	s.eventually("the history is "+strings.Join(want, ", "), soon, func(context.Context) error {
		history, err := s.history()
		if err != nil {
			return err
		}
		var got []string
		for _, r := range history.Revisions {
			text := fmt.Sprintf("%d %s %s", r.Number, r.Cause, r.State)
			if r.ContentsOf > 0 {
				text = fmt.Sprintf("%d %s to %d %s", r.Number, r.Cause, r.ContentsOf, r.State)
			}
			got = append(got, text)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
}

// TestHistoryAndRollback: what a profile was is listed, and deployed again with the
// contents that it had, until somebody changes it.
func TestHistoryAndRollback(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	open, closed := s.name+"-open", s.name+"-closed"
	holds := func(value string) source { return source{name: "open", data: documents(settings(open, value))} }
	keeps := func(value string) source {
		return source{name: "closed", secret: true, data: documents(settings(closed, value))}
	}
	tier := func(n int) {
		s.kubectl("patch", "clusterprofile", s.name, "--type=merge", "--patch", fmt.Sprintf(`{"spec":{"tier":%d}}`, n))
		s.provisioned(s.name)
	}
	s.register("cluster1", s.labels())
	s.applyRaw(holds("1"))
	s.applyRaw(keeps("1"))
	s.applyProfile(s.name, "open", "- {kind: Secret, namespace: "+s.name+", name: closed}\n  "+s.everywhere())
	s.provisioned(s.name)
	s.applyRaw(holds("2"))
	s.awaitValue("cluster1", open, "2")
	tier(50)
	s.awaitHistory("3 Spec Deployed", "2 Contents Superseded", "1 Spec Superseded")
	s.wantHistory()

	s.kubectl("muster", "rollback", s.name, "--to-revision=1")
	s.awaitValue("cluster1", open, "1")
	s.awaitHistory("4 Rollback to 1 Deployed", "3 Spec Superseded", "2 Contents Superseded", "1 Spec Superseded")
	profile, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(s.Context(), s.name, metav1.GetOptions{})
	if err != nil || profile.Spec.Tier != 100 {
		t.Fatalf("rolled back to tier %d, %v", profile.Spec.Tier, err)
	}
	// What the source holds does not matter while the rollback stands.
	s.applyRaw(holds("3"))
	s.always("the rollback stands", settle, s.hasValue("cluster1", open, "1"))
	s.kubectl("muster", "diff", s.name) // and nothing would change
	tier(60)
	s.awaitValue("cluster1", open, "3")
	if profile, err = s.muster.ConfigV1beta1().ClusterProfiles().Get(s.Context(), s.name, metav1.GetOptions{}); err != nil || profile.Annotations[configv1beta1.AnnotationContentsOf] != "" {
		t.Errorf("the rollback has ended, and the annotations are %v, %v", profile.Annotations, err)
	}

	// What a Secret held is not kept.
	s.applyRaw(keeps("2"))
	s.awaitValue("cluster1", closed, "2")
	s.kubectlFails("Secret "+s.name+"/closed has changed", "muster", "rollback", s.name, "--to-revision=1")
	for name, value := range map[string]string{open: "3", closed: "2"} {
		if err := s.hasValue("cluster1", name, value)(s.Context()); err != nil {
			t.Errorf("after a rollback that was refused: %v", err)
		}
	}
	s.kubectlFails("not found", "muster", "rollback", s.name, "--to-revision=17")
	s.kubectlFails("not found", "muster", "history", s.name+"-none")
}

// wantHistory: people see it in a table, and one revision whole.
func (s *scope) wantHistory() {
	s.Helper()
	_, rows := parseTable(s.kubectl("muster", "history", s.name))
	if len(rows) != 3 || rows[0]["REVISION"] != "3" || rows[0]["STATE"] != "Deployed" || rows[0]["CLUSTERS"] != "1" || rows[0]["AUTHOR"] == "" {
		s.Errorf("the table is %v", rows)
	}
	if raw := s.kubectl("get", "--raw", "/apis/config.projectsveltos.io/v1alpha1/clusterprofiles/"+s.name+"/history?revision=1"); !strings.Contains(raw, `"kind":"ProfileHistory"`) || !strings.Contains(raw, `"policyRefs"`) {
		s.Errorf("revision 1 is %s", raw)
	}
	history, err := s.history()
	if err != nil {
		s.Fatal(err)
	}
	for _, from := range history.Revisions[0].Sources {
		if secret := from.Kind == "Secret"; secret != (from.Digest == "") {
			s.Errorf("a source is %+v; the digest of a Secret is nobody's", from)
		}
	}
	if clusters := history.Revisions[0].Clusters; len(clusters) != 1 || clusters[0].Cluster.Name != "cluster1" || clusters[0].Cluster.Namespace != s.name {
		s.Errorf("it is on %s", asJSON(clusters))
	}
}
