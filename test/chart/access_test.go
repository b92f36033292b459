// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// grants are "verb group/resource[/name]" for each thing that rules allow.
func grants(rules []rbacv1.PolicyRule) sets.Set[string] {
	all := sets.New[string]()
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						all.Insert(strings.TrimSuffix(verb+" "+group+"/"+resource+" "+name, " "))
					}
				}
			}
		}
	}
	return all
}

// With one of the six missing, or one verb of one, the host answers every write
// to Muster's kinds with 403.
func TestAdmissionSeesWhatTheHostEnforces(t *testing.T) {
	for name, values := range valuesSets {
		if strings.Contains(values, "rbac: {create: false") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			granted := grants(one[*rbacv1.ClusterRole](t, render(t, values), "muster").Rules)
			for _, resource := range []string{
				"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
				"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
			} {
				for _, verb := range []string{"get", "list", "watch"} {
					if grant := verb + " admissionregistration.k8s.io/" + resource; !granted.Has(grant) {
						t.Errorf("no right to %s", grant)
					}
				}
			}
		})
	}
}

// Nobody gets everything of something, and nobody the right to give rights.
func TestNoRoleHasMoreThanItNames(t *testing.T) {
	objects := render(t, everything)
	rules := map[string][]rbacv1.PolicyRule{}
	for _, role := range all[*rbacv1.ClusterRole](objects) {
		rules["ClusterRole "+role.Name] = role.Rules
	}
	for _, role := range all[*rbacv1.Role](objects) {
		rules["Role "+role.Name] = role.Rules
	}
	for name, rules := range rules {
		for grant := range grants(rules) {
			if strings.Contains(grant, "*") || strings.Contains(grant, "rbac.authorization") || strings.Contains(grant, "/pods") ||
				strings.Contains(grant, "/token") || strings.HasPrefix(grant, "impersonate") || strings.HasPrefix(grant, "escalate") {
				t.Errorf("%s may %s", name, grant)
			}
		}
	}
}

// Bindings give every account what this chart means for it, and no other.
func TestBindings(t *testing.T) {
	objects := render(t, "")
	got := map[string]string{}
	add := func(binding client.Object, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		for _, s := range subjects {
			if s.Kind != "ServiceAccount" || s.Namespace != namespace {
				t.Errorf("%s gives rights to %+v", binding.GetName(), s)
			}
			got[strings.TrimPrefix(binding.GetNamespace()+" ", " ")+ref.Kind+" "+ref.Name] = s.Name
		}
	}
	for _, b := range all[*rbacv1.ClusterRoleBinding](objects) {
		add(b, b.RoleRef, b.Subjects)
	}
	for _, b := range all[*rbacv1.RoleBinding](objects) {
		add(b, b.RoleRef, b.Subjects)
	}
	want := map[string]string{
		"ClusterRole muster":                                         "muster",
		"ClusterRole system:auth-delegator":                          "muster",
		"ClusterRole muster-uninstall":                               "muster-uninstall",
		"kube-system Role extension-apiserver-authentication-reader": "muster",
		namespace + " Role muster":                                   "muster",
		namespace + " Role muster-etcd":                              "muster-etcd",
		namespace + " Role muster-prepare":                           "muster-prepare",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
}

func TestSecretsAreReadInAllNamespacesOrInThoseListed(t *testing.T) {
	const read, flux = "get /secrets", "source.toolkit.fluxcd.io/"
	if objects := render(t, ""); !grants(one[*rbacv1.ClusterRole](t, objects, "muster").Rules).Has(read) {
		t.Error("by default Muster reads no Secrets")
	}
	objects := render(t, valuesSets["listed namespaces"])
	for _, role := range all[*rbacv1.ClusterRole](objects) {
		for grant := range grants(role.Rules) {
			if strings.Contains(grant, flux) || strings.Contains(grant, " /secrets") || strings.Contains(grant, " /configmaps") {
				t.Errorf("ClusterRole %s may %s everywhere", role.Name, grant)
			}
		}
	}
	var roles, bindings []string
	for _, role := range all[*rbacv1.Role](objects) {
		if role.Name != "muster:read" {
			continue
		}
		roles = append(roles, role.Namespace)
		want := sets.New[string]()
		for _, verb := range []string{"get", "list", "watch"} {
			for _, resource := range []string{"/secrets", "/configmaps", flux + "gitrepositories", flux + "ocirepositories", flux + "buckets"} {
				want.Insert(verb + " " + resource)
			}
		}
		if diff := cmp.Diff(want, grants(role.Rules)); diff != "" {
			t.Errorf("namespace %s (-want +got):\n%s", role.Namespace, diff)
		}
	}
	for _, binding := range all[*rbacv1.RoleBinding](objects) {
		if binding.RoleRef.Name == "muster:read" && binding.Subjects[0].Name == "muster" && binding.Subjects[0].Namespace == namespace {
			bindings = append(bindings, binding.Namespace)
		}
	}
	want := []string{"fleet-a", "fleet-b", namespace}
	for what, got := range map[string][]string{"roles": roles, "bindings": bindings} {
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s in namespaces (-want +got):\n%s", what, diff)
		}
	}
	if !slices.Contains(podTemplates(objects)["Deployment muster"].Spec.Containers[0].Args, "--source-namespaces=fleet-a,fleet-b") {
		t.Error("the server is not told which namespaces it may read")
	}
}

// Writing status or summaries is Muster's; a diff shows what only Muster may
// read, so nobody gets it without being given it by name.
func TestUserRoles(t *testing.T) {
	objects := render(t, "")
	for name, want := range map[string][]string{
		"muster-view": {"view", "edit", "admin"},
		"muster-edit": {"edit", "admin"},
		"muster-diff": nil,
	} {
		role := one[*rbacv1.ClusterRole](t, objects, name)
		var aggregated []string
		for _, to := range []string{"view", "edit", "admin"} {
			if role.Labels["rbac.authorization.k8s.io/aggregate-to-"+to] == "true" {
				aggregated = append(aggregated, to)
			}
		}
		if diff := cmp.Diff(want, aggregated); diff != "" {
			t.Errorf("%s goes to (-want +got):\n%s", name, diff)
		}
		for grant := range grants(role.Rules) {
			verb, resource, _ := strings.Cut(grant, " ")
			reads := slices.Contains([]string{"get", "list", "watch"}, verb)
			if strings.Contains(resource, "/diff") != (name == "muster-diff") || strings.Contains(resource, "/proxy") {
				t.Errorf("%s may %s", name, grant)
			}
			if !reads && (name == "muster-view" || strings.Contains(resource, "/status") || strings.Contains(resource, "clustersummaries")) {
				t.Errorf("%s may %s", name, grant)
			}
		}
	}
}

// What Muster asks the host while a caller waits does not queue behind callers.
func TestQuestionsToTheHostDoNotQueue(t *testing.T) {
	for _, values := range []string{"", valuesSets["somebody else's account and rights"]} {
		objects := render(t, values)
		schema := one[*flowcontrolv1.FlowSchema](t, objects, "muster-delegated-authorization")
		account := schema.Spec.Rules[0].Subjects[0].ServiceAccount
		if schema.Spec.PriorityLevelConfiguration.Name != "exempt" || account == nil || account.Namespace != namespace ||
			account.Name != podTemplates(objects)["Deployment muster"].Spec.ServiceAccountName {
			t.Errorf("FlowSchema %+v", schema.Spec)
		}
	}
}

// The hook may delete our APIServices and nothing else, and has no rights when
// it does not run.
func TestUninstallation(t *testing.T) {
	objects := render(t, "")
	names := []string{"v1alpha1.config.projectsveltos.io", "v1alpha1.lib.projectsveltos.io", "v1beta1.config.projectsveltos.io", "v1beta1.lib.projectsveltos.io"}
	want := sets.New("list apiregistration.k8s.io/apiservices")
	for _, name := range names {
		want.Insert("delete apiregistration.k8s.io/apiservices " + name)
	}
	if diff := cmp.Diff(want, grants(one[*rbacv1.ClusterRole](t, objects, "muster-uninstall").Rules)); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	weight := func(o client.Object) string { return o.GetAnnotations()["helm.sh/hook-weight"] }
	job := one[*batchv1.Job](t, objects, "muster-uninstall")
	for _, before := range []client.Object{
		one[*corev1.ServiceAccount](t, objects, "muster-uninstall"), one[*rbacv1.ClusterRoleBinding](t, objects, "muster-uninstall"),
	} {
		if weight(before) == weight(job) || !strings.HasPrefix(weight(before), "-") {
			t.Errorf("%T is made at %s, and the Job at %s", before, weight(before), weight(job))
		}
		if !strings.Contains(before.GetAnnotations()["helm.sh/hook-delete-policy"], "hook-succeeded") {
			t.Errorf("%T stays", before)
		}
	}
}

// An etcd member reads no Secret through the API, and a backup has no account.
func TestOtherPodsHaveNoRightsOfMusters(t *testing.T) {
	templates := podTemplates(render(t, everything))
	for name, want := range map[string]string{
		"Deployment muster": "muster", "StatefulSet muster-etcd": "muster-etcd", "Job muster-prepare": "muster-prepare",
		"Job muster-uninstall": "muster-uninstall", "CronJob muster-backup": "",
	} {
		if got := templates[name].Spec.ServiceAccountName; got != want {
			t.Errorf("%s runs as %q, want %q", name, got, want)
		}
	}
	if token := templates["CronJob muster-backup"].Spec.AutomountServiceAccountToken; token == nil || *token {
		t.Error("a backup has a token")
	}
}

// What Muster may change on the host, and whose accounts it may act as, is asked for.
func TestRightsOnTheHostAndOfTenantsAreAskedFor(t *testing.T) {
	const values = `rbac: {hostRules: [{apiGroups: [apps], resources: [deployments], verbs: [get, patch]}], tenantNamespaces: [teams]}`
	objects := render(t, values)
	granted := grants(one[*rbacv1.ClusterRole](t, objects, "muster:host").Rules)
	if !granted.Equal(sets.New("get apps/deployments", "patch apps/deployments")) {
		t.Errorf("on the host: %v", granted.UnsortedList())
	}
	if one[*rbacv1.ClusterRoleBinding](t, objects, "muster:host").Subjects[0].Name != "muster" {
		t.Error("the rights on the host are somebody else's")
	}
	tenants := one[*rbacv1.Role](t, objects, "muster:tenants")
	granted = grants(tenants.Rules)
	if tenants.Namespace != "teams" || !granted.Equal(sets.New("get /serviceaccounts", "impersonate /serviceaccounts")) {
		t.Errorf("in %s: %v", tenants.Namespace, granted.UnsortedList())
	}
	if one[*rbacv1.RoleBinding](t, objects, "muster:tenants").RoleRef.Name != "muster:tenants" {
		t.Error("the rights of tenants are not bound")
	}
	for name, values := range valuesSets {
		for _, object := range render(t, values) {
			if object.GetName() == "muster:host" || object.GetName() == "muster:tenants" {
				t.Errorf("%s: there is %T %s", name, object, object.GetName())
			}
		}
	}
}
