// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// diff is what kubectl muster diff says of the scope's profile, and its exit status.
func (s *scope) diff(ctx context.Context, args ...string) (string, int) {
	s.Helper()
	result, err := s.fleet.Kubectl(ctx, append([]string{"muster", "diff", s.name}, args...)...)
	if err != nil && result.Code == 0 {
		s.Fatal(err)
	}
	return result.Stdout + result.Stderr, result.Code
}

// reported is what would become of the objects that the scope's profile has or wants on
// cluster1, by name, and the messages.
func (s *scope) reported(ctx context.Context) (actions, messages map[string]string, err error) {
	report, err := s.muster.ConfigV1beta1().ClusterReports(s.name).Get(ctx, s.name+"--sveltos--cluster1", metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	actions, messages = map[string]string{}, map[string]string{}
	for _, r := range report.Status.ResourceReports {
		actions[r.Resource.Name], messages[r.Resource.Name] = r.Action, r.Message
	}
	return actions, messages, nil
}

// awaitReport waits until the ClusterReport says so.
func (s *scope) awaitReport(want map[string]string) {
	s.Helper()
	s.eventually(fmt.Sprintf("the ClusterReport says %v", want), deploySoon, func(ctx context.Context) error {
		actions, _, err := s.reported(ctx)
		if err == nil && asJSON(actions) != asJSON(want) {
			err = errors.New("it says " + asJSON(actions))
		}
		return err
	})
}

// TestDiffAndDryRun asks what would be before it is, in each mode.
func TestDiffAndDryRun(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	a, b, secret := s.name+"-a", s.name+"-b", s.name+"-secret"
	canary := "canary-" + s.name
	s.register("cluster1", s.labels())
	manifest := func(password string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {namespace: %s, name: %s}\nstringData: {password: %s}\n", contentNamespace, secret, password)
	}
	content := func(parts ...string) {
		t.Helper()
		s.applyRaw(source{name: "content", data: documents(parts...)})
	}
	mode := func(mode string) {
		t.Helper()
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %s}, spec: {syncMode: %s, %s, policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: content}]}}",
			s.name, mode, s.everywhere()))
	}
	content(settings(a, "1"), settings(b, "1"), manifest("1-"+canary))
	mode("DryRun")
	s.awaitReport(map[string]string{a: "Create", b: "Create", secret: "Create"})
	s.wantTrial()
	if err := s.hasContent("cluster1", false, a, b)(s.Context()); err != nil {
		t.Error(err)
	}
	text, code := s.diff(s.Context())
	if code != 1 || !strings.Contains(text, "Create ConfigMap "+contentNamespace+"/"+a) {
		t.Errorf("diff exits with %d:\n%s", code, text)
	}

	// What was tried is done when the mode changes, and then there is nothing to do.
	mode("Continuous")
	s.provisioned(s.name)
	if text, code := s.diff(s.Context(), "--cluster="+s.name+"/cluster1"); code != 0 {
		t.Errorf("after it is deployed, diff exits with %d:\n%s", code, text)
	}
	if reports, err := s.muster.ConfigV1beta1().ClusterReports(s.name).List(s.Context(), metav1.ListOptions{}); err != nil || len(reports.Items) > 0 {
		t.Errorf("the report is left: %s, %v", asJSON(reports.Items), err)
	}

	// In mode DryRun changes are told, removals among them, and none is made.
	mode("DryRun")
	kept, untouched := s.staysUntouched("cluster1", b), s.unwritten(a)
	content(settings(a, "2"), manifest("2-"+canary))
	s.awaitReport(map[string]string{a: "Update", b: "Delete", secret: "Update"})
	s.always("nothing is changed", settle, func(ctx context.Context) error { return errors.Join(kept(ctx), untouched(ctx)) })
	s.wantMasked(a, secret, canary)
	s.wantRefusals(a)

	// Deleting it in this mode leaves what was deployed before.
	s.kubectl("delete", "clusterprofile", s.name, "--timeout=60s")
	if err := errors.Join(kept(s.Context()), untouched(s.Context())); err != nil {
		t.Error(err)
	}
	for _, name := range []string{a, b} {
		s.kubectlOn("cluster1", "delete", "configmap", name, "--namespace="+contentNamespace)
	}
	s.kubectlOn("cluster1", "delete", "secret", secret, "--namespace="+contentNamespace)
}

// kubectlOn runs kubectl against a managed cluster.
func (s *scope) kubectlOn(cluster string, args ...string) {
	s.Helper()
	if _, err := s.fleet.Managed(cluster).Kubectl().Run(s.Context(), args...); err != nil {
		s.Fatal(err)
	}
}

// wantTrial: the summary and the profile say that nothing is deployed, and show dryrun
// shows what would be.
func (s *scope) wantTrial() {
	s.Helper()
	s.eventually("the summary says DryRun", soon, func(ctx context.Context) error {
		summary, err := s.summary(ctx, s.name, "cluster1")
		if err != nil {
			return err
		}
		for _, feature := range summary.Status.FeatureSummaries {
			if feature.Status == configv1beta1.FeatureStatusProvisioned {
				return errors.New("it is provisioned: " + asJSON(feature))
			}
		}
		return condition(summary.Status.Conditions, configv1beta1.ConditionReady, metav1.ConditionFalse, configv1beta1.ReasonDryRun)
	})
	s.awaitProfile(s.name, configv1beta1.ConditionReady, metav1.ConditionFalse, configv1beta1.ReasonDryRun)
	for _, out := range []string{
		s.kubectl("muster", "show", "dryrun", "--namespace="+s.name, "--profile=ClusterProfile/"+s.name),
		s.kubectl("get", "clusterprofile", s.name, "--subresource=diff"),
	} {
		if !strings.Contains(out, s.name+"/cluster1") || !strings.Contains(out, ":ConfigMap") || !strings.Contains(out, "Create") {
			s.Errorf("it shows:\n%s", out)
		}
	}
}

// wantMasked: differences are shown wherever they can be asked for, and what is in a
// Secret nowhere.
func (s *scope) wantMasked(object, secret, canary string) {
	s.Helper()
	_, messages, err := s.reported(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	text, code := s.diff(s.Context())
	if code != 1 {
		s.Errorf("diff exits with %d", code)
	}
	for where, shown := range map[string]string{
		"the report": messages[object] + messages[secret],
		"diff":       text,
		"raw-diff":   s.kubectl("muster", "show", "dryrun", "--namespace="+s.name, "--raw-diff"),
		"JSON":       s.kubectl("get", "clusterprofile", s.name, "--subresource=diff", "-o", "json"),
	} {
		unquoted := strings.ReplaceAll(shown, `\"`, `"`)
		if !strings.Contains(unquoted, `-  value: "1"`) || !strings.Contains(unquoted, `+  value: "2"`) || !strings.Contains(unquoted, "*** (after)") {
			s.Errorf("%s does not show the difference:\n%s", where, shown)
		}
		if strings.Contains(shown, canary) {
			s.Errorf("%s shows the Secret:\n%s", where, shown)
		}
	}
	s.wantNoTrace(canary)
	if text, code := s.diff(s.Context(), "--cluster="+s.name+"/nowhere"); code != 2 || !strings.Contains(text, "does not match the cluster") {
		s.Errorf("of a cluster that the profile does not match diff says, with status %d: %s", code, text)
	}
}

// wantRefusals: what the cluster would deny, and what it warns of, is told.
func (s *scope) wantRefusals(object string) {
	s.Helper()
	s.policy("deny", object, admissionv1.Deny)
	s.policy("warn", object, admissionv1.Warn)
	s.eventually("diff tells of the denial and the warning", deploySoon, func(ctx context.Context) error {
		text, code := s.diff(ctx)
		err := saysAll("diff", text, []string{"Error ConfigMap " + contentNamespace + "/" + object, s.name + "-deny", "Warning: ", s.name + "-warn"})
		if err == nil && (code != 1 || strings.Contains(text, "Delete ConfigMap")) {
			err = fmt.Errorf("it exits with %d, and nothing is pruned while something is denied: %s", code, text)
		}
		return err
	})
}

// policy makes cluster1 deny changes of an object, or warn of them.
func (s *scope) policy(name, object string, action admissionv1.ValidationAction) {
	s.Helper()
	name = s.name + "-" + name
	client := s.managed["cluster1"].AdmissionregistrationV1()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Ignore),
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				ResourceNames: []string{object},
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "refused by " + name}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{action}},
	}
	s.later(func(ctx context.Context) error {
		return errors.Join(
			client.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}),
			client.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{}))
	})
	if _, err := client.ValidatingAdmissionPolicies().Create(s.Context(), policy, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	if _, err := client.ValidatingAdmissionPolicyBindings().Create(s.Context(), binding, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}
