// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// TestSources deploys a ConfigMap and a Secret, changes one and takes an object
// out of it.
func TestSources(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	a, b, c := s.name+"-a", s.name+"-b", s.name+"-c"
	s.register("cluster1", s.labels())
	s.applyRaw(source{name: "open", data: documents(settings(a, "1"), settings(b, "1"))})
	s.applyRaw(source{name: "closed", secret: true, data: documents(settings(c, "1"))})
	s.applyProfile(s.name, "open", "- {kind: Secret, namespace: "+s.name+", name: closed}\n  "+s.everywhere())
	s.provisioned(s.name)
	for _, name := range []string{a, b, c} {
		if err := s.hasValue("cluster1", name, "1")(s.Context()); err != nil {
			t.Error(err)
		}
	}
	object, err := s.content(s.Context(), "cluster1", a)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(object.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return f.Operation == metav1.ManagedFieldsOperationApply }) {
		t.Errorf("it was not applied on the server's side: %s", asJSON(object.ManagedFields))
	}
	s.wantSummary()
	s.wantInventory(a, b, c)

	untouched := s.staysUntouched("cluster1", a)
	s.applyRaw(source{name: "open", data: documents(settings(a, "2"))})
	s.awaitValue("cluster1", a, "2")
	s.awaitContent("cluster1", false, b)
	s.provisioned(s.name)
	s.wantInventory(a, c)
	s.applyRaw(source{name: "closed", secret: true, data: documents(settings(c, "2"))})
	s.awaitValue("cluster1", c, "2")
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
	// A reference that goes takes its objects along.
	s.kubectl("patch", "clusterprofile", s.name, "--type=json", "--patch", `[{"op":"remove","path":"/spec/policyRefs/1"}]`)
	s.awaitContent("cluster1", false, c)
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
}

// wantSummary: a summary has upstream's name and labels, and says what is
// deployed.
func (s *scope) wantSummary() {
	s.Helper()
	summary, err := s.summary(s.Context(), s.name, "cluster1")
	if err != nil || summary == nil {
		s.Fatal(summary, err)
	}
	want := map[string]string{
		libv1beta1.LabelClusterProfileName: s.name, libv1beta1.LabelClusterName: "cluster1", libv1beta1.LabelClusterType: "Sveltos",
	}
	for key, value := range want {
		if summary.Labels[key] != value {
			s.Errorf("label %s is %q, want %q", key, summary.Labels[key], value)
		}
	}
	if spec := summary.Spec; spec.ClusterNamespace != s.name || spec.ClusterName != "cluster1" || len(spec.ClusterProfileSpec.PolicyRefs) != 2 {
		s.Errorf("the summary's spec is %s", asJSON(spec))
	}
	features := summary.Status.FeatureSummaries
	if len(features) != 1 || features[0].Status != configv1beta1.FeatureStatusProvisioned || !slices.Equal(features[0].DeployedGroupVersionKind, []string{"ConfigMap.v1."}) {
		s.Errorf("the summary's features are %s", asJSON(features))
	}
}

// wantInventory: soon, what is deployed is listed, and nothing else.
func (s *scope) wantInventory(names ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("addons lists %q", names), soon, func(ctx context.Context) error {
		list, err := s.muster.ConfigV1beta1().Addons(s.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var listed []string
		for i := range list.Items {
			listed = append(listed, list.Items[i].Name)
		}
		slices.Sort(listed)
		if !slices.Equal(listed, names) {
			return fmt.Errorf("it lists %q", listed)
		}
		return nil
	})
}

// TestBrokenSource: what cannot be read or applied as a whole changes as little
// as it can, and removes nothing.
func TestBrokenSource(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	a, b := s.name+"-a", s.name+"-b"
	canary := "canary-" + s.name
	s.register("cluster1", s.labels())
	for _, secret := range []bool{false, true} {
		from := source{name: "content", secret: secret, data: documents(settings(a, "1"), settings(b, "1"))}
		kind := map[bool]string{false: "ConfigMap", true: "Secret"}[secret]
		s.applyRaw(from)
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s}, spec: {policyRefs: [{kind: %s, namespace: %s, name: content}], %s}}",
			s.name, kind, s.name, s.everywhere()))
		s.provisioned(s.name)
		untouched, kept := s.staysUntouched("cluster1", a), s.staysUntouched("cluster1", b)

		from.data = documents(settings(a, "2"), "apiVersion: v1\nkind: ConfigMap\ndata: ["+canary+"\n")
		s.applyRaw(from)
		s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, kind+" "+s.name+"/content", `key "content.yaml"`, "document 2")
		s.always("nothing is half deployed, nothing pruned", settle, func(ctx context.Context) error {
			if err := s.hasValue("cluster1", a, "1")(ctx); err != nil {
				return err
			}
			return kept(ctx)
		})
		if secret {
			s.wantNoTrace(canary)
		}
		// Readable, and in part not acceptable to the cluster.
		from.data = documents(settings(a, "2"), settings("No_Name", "1"))
		s.applyRaw(from)
		s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "No_Name")
		if err := kept(s.Context()); err != nil {
			t.Errorf("pruned before all was applied: %v", err)
		}
		from.data = documents(settings(a, "3"))
		s.applyRaw(from)
		s.awaitValue("cluster1", a, "3")
		s.awaitContent("cluster1", false, b)
		if err := untouched(s.Context()); err != nil {
			t.Error(err)
		}
		s.kubectl("delete", "clusterprofile", s.name)
	}
}

// wantNoTrace: a value from a Secret is in nothing that Muster says.
func (s *scope) wantNoTrace(canary string) {
	s.Helper()
	for _, args := range [][]string{
		{"get", "sveltosclusters,clustersets,sets,clusterprofiles,profiles,clustersummaries,addons.config.projectsveltos.io", "-A", "-o", "yaml"},
		{"get", "events", "-A", "-o", "yaml"},
	} {
		if out := s.kubectl(args...); strings.Contains(out, canary) {
			s.Errorf("kubectl %v shows %q", args, canary)
		}
	}
	found, err := inFile(s.fleet.Muster.Log(), canary)
	if err != nil || found != "" {
		s.Errorf("Muster's log has %q in %q, %v", canary, found, err)
	}
}

// TestMissingSource: a source that is not there is named, and deployed as soon
// as it is.
func TestMissingSource(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.applySource("there", s.name+"-there")
	s.applyProfile(s.name, "there", "- {kind: Secret, namespace: "+s.name+", name: later}\n  "+s.everywhere())
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "Secret "+s.name+"/later")
	s.applyRaw(source{name: "later", secret: true, data: documents(settings(s.name+"-later", "1"))})
	s.eventually("it is deployed", soon, s.hasContent("cluster1", true, s.name+"-there", s.name+"-later"))
	// And missed again: it does not mean that nothing should be there.
	kept := s.staysUntouched("cluster1", s.name+"-later")
	s.kubectl("delete", "secret", "later", "--namespace="+s.name)
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "Secret "+s.name+"/later")
	s.always("nothing is pruned", settle, kept)
}

// TestTemplates: what is annotated is a template, and sees the cluster.
func TestTemplates(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	name := s.name + "-{{ .Cluster.metadata.name }}"
	s.register("cluster1", s.labels())
	s.register("cluster2", s.labels())
	s.applyRaw(source{name: "template", annotations: template(), data: documents(settings(name, "{{ get .Cluster.metadata.labels `region` | default `nowhere` | upper }}"))})
	s.applyRaw(source{name: "literal", data: documents(settings(s.name+"-literal", "{{ .Cluster }}"))})
	s.applyProfile(s.name, "template", "- {kind: ConfigMap, namespace: "+s.name+", name: literal}\n  "+s.everywhere())
	s.provisioned(s.name)
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.awaitValue(cluster, s.name+"-"+cluster, "NOWHERE")
		s.awaitValue(cluster, s.name+"-literal", "{{ .Cluster }}")
	}
	s.kubectl("label", "sveltoscluster", "cluster2", "--namespace="+s.name, "region=eu")
	s.awaitValue("cluster2", s.name+"-cluster2", "EU")
	s.applyRaw(source{name: "template", annotations: template(), data: documents(settings(name, "{{ .Cluster.metadata.nothing.at.all }}"))})
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceInvalid, "ConfigMap "+s.name+"/template", `key "content.yaml"`)
	if err := s.hasValue("cluster1", s.name+"-cluster1", "NOWHERE")(s.Context()); err != nil {
		t.Error(err)
	}
}

// TestTemplateBombs: a template that would take all time or memory is ended,
// and costs nobody else anything.
func TestTemplateBombs(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	pid := s.fleet.Muster.PID()
	bombs := map[string]struct{ text, says string }{
		"time":   {"{{ range 2000000000 }}{{ end }}", "too long"},
		"output": {"{{ range 2000000000 }}{{ repeat 1000 `x` }}{{ end }}", "too"},
		"memory": {"{{ $x := `xxxxxxxxxx` }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}", "too"},
	}
	for kind, bomb := range bombs {
		s.applyRaw(source{name: kind, annotations: template(), data: map[string]string{"bomb.yaml": bomb.text}})
		s.applyProfile(s.name+"-"+kind, kind, s.everywhere())
	}
	s.applySource("good", s.name)
	s.applyProfile(s.name, "good", s.everywhere())
	for kind, bomb := range bombs {
		s.awaitFailure(s.name+"-"+kind, "cluster1", configv1beta1.ReasonSourceInvalid, "ConfigMap "+s.name+"/"+kind, `key "bomb.yaml"`, bomb.says)
	}
	s.provisioned(s.name)
	if now := s.fleet.Muster.PID(); now != pid {
		t.Errorf("the server was restarted: %d is %d", pid, now)
	}
}

// TestSyncModes: OneTime means once, Continuous always.
func TestSyncModes(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	once, always := s.name+"-once", s.name+"-always"
	s.register("cluster1", s.labels())
	for _, mode := range []struct{ name, mode string }{{once, "OneTime"}, {always, "Continuous"}} {
		s.applyRaw(source{name: mode.name, data: documents(settings(mode.name, "1"))})
		s.applyProfile(mode.name, mode.name, s.everywhere()+"\n  syncMode: "+mode.mode)
		s.provisioned(mode.name)
	}
	for _, name := range []string{once, always} {
		s.applyRaw(source{name: name, data: documents(settings(name, "2"))})
	}
	s.awaitValue("cluster1", always, "2")
	s.kubectl("patch", "clusterprofile", once, "--type=merge", "--patch", `{"spec":{"tier":50}}`)
	s.always("the one time is over", settle, s.hasValue("cluster1", once, "1"))
	s.kubectl("patch", "clusterprofile", once, "--type=merge", "--patch", `{"spec":{"syncMode":"Continuous"}}`)
	s.awaitValue("cluster1", once, "2")
	// What was deployed once is withdrawn as everything else.
	s.kubectl("patch", "clusterprofile", once, "--type=merge", "--patch", `{"spec":{"syncMode":"OneTime"}}`)
	s.provisioned(once)
	s.kubectl("delete", "clusterprofile", once)
	if err := s.hasContent("cluster1", false, once)(s.Context()); err != nil {
		t.Error(err)
	}
}

// TestStopMatching: what becomes of the content of a cluster that no longer
// matches is the profile's to say.
func TestStopMatching(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	leave, withdraw := s.name+"-leave", s.name+"-withdraw"
	s.register("cluster1", s.labels())
	for name, behavior := range map[string]string{leave: "LeavePolicies", withdraw: "WithdrawPolicies"} {
		s.applySource(name, name)
		s.applyProfile(name, name, s.everywhere()+"\n  stopMatchingBehavior: "+behavior)
		s.provisioned(name)
	}
	left := s.staysUntouched("cluster1", leave)
	s.kubectl("label", "sveltoscluster", "cluster1", "--namespace="+s.name, "scope-")
	s.awaitContent("cluster1", false, withdraw)
	s.awaitNoSummary(leave, "cluster1")
	s.awaitNoSummary(withdraw, "cluster1")
	s.wantInventory()
	if err := left(s.Context()); err != nil {
		t.Error(err)
	}
	object, err := s.content(s.Context(), "cluster1", leave)
	if err != nil {
		t.Fatal(err)
	}
	for key := range object.Annotations {
		if strings.HasPrefix(key, "projectsveltos.io/") {
			t.Errorf("what is left says still whose it is: %s", asJSON(object.ObjectMeta))
		}
	}
	s.forgetContent("cluster1", leave)
}

// forgetContent deletes what a test leaves in a managed cluster.
func (s *scope) forgetContent(cluster string, names ...string) {
	s.Helper()
	for _, name := range names {
		if err := s.managed[cluster].CoreV1().ConfigMaps(contentNamespace).Delete(s.Context(), name, metav1.DeleteOptions{}); err != nil {
			s.Error(err)
		}
	}
}

// TestNamespacedProfile: a Profile and a Set keep to their namespace.
func TestNamespacedProfile(t *testing.T) {
	t.Parallel()
	s, other := newScope(t), newScope(t)
	s.register("cluster1", map[string]string{"both": s.name})
	other.register("cluster2", map[string]string{"both": s.name})
	s.applySource("content", s.name)
	s.apply(fmt.Sprintf(`
apiVersion: lib.projectsveltos.io/v1beta1
kind: Set
metadata: {name: all, namespace: %[1]s}
spec: {clusterSelector: {matchLabels: {both: %[1]s}}, maxReplicas: 5}
---
apiVersion: config.projectsveltos.io/v1beta1
kind: Profile
metadata: {name: mine, namespace: %[1]s}
spec:
  setRefs: [all]
  policyRefs: [{kind: ConfigMap, name: content}]
`, s.name))
	s.awaitContent("cluster1", true, s.name)
	var found *configv1beta1.ClusterSummary
	s.eventually("the summary says so", soon, func(ctx context.Context) (err error) {
		found, err = s.muster.ConfigV1beta1().ClusterSummaries(s.name).Get(ctx, "p--mine-sveltos-cluster1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return condition(found.Status.Conditions, configv1beta1.ConditionReady, metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	})
	if found.Labels[libv1beta1.LabelProfileName] != "mine" {
		t.Errorf("the summary's labels are %v", found.Labels)
	}
	profile, err := s.muster.ConfigV1beta1().Profiles(s.name).Get(s.Context(), "mine", metav1.GetOptions{})
	if err != nil || len(profile.Status.MatchingClusters) != 1 {
		t.Errorf("it matches %s, %v", asJSON(profile.Status.MatchingClusters), err)
	}
	if err := s.hasContent("cluster2", false, s.name)(s.Context()); err != nil {
		t.Errorf("a cluster of another namespace: %v", err)
	}
	s.kubectl("delete", "profile", "mine", "--namespace="+s.name)
	if err := s.hasContent("cluster1", false, s.name)(s.Context()); err != nil {
		t.Error(err)
	}
}
