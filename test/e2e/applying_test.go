// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/sveltoscluster"
	"github.com/muster-project/muster/pkg/fleet"
)

// musterAccount is who Muster is on the host.
func musterAccount() rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "projectsveltos", Name: "muster"}
}

// grant gives somebody rights in a namespace, until the test has ended.
func (s *scope) grant(client kubernetes.Interface, namespace, name string, to rbacv1.Subject, resource string, verbs ...string) {
	s.Helper()
	roles, bindings := client.RbacV1().Roles(namespace), client.RbacV1().RoleBindings(namespace)
	meta := metav1.ObjectMeta{Name: name}
	_, err := roles.Create(s.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "apps"}, Resources: []string{resource}, Verbs: verbs},
	}}, metav1.CreateOptions{})
	if err == nil {
		_, err = bindings.Create(s.Context(), &rbacv1.RoleBinding{
			ObjectMeta: meta, Subjects: []rbacv1.Subject{to}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		}, metav1.CreateOptions{})
	}
	s.later(func(ctx context.Context) error {
		return errors.Join(bindings.Delete(ctx, name, metav1.DeleteOptions{}), roles.Delete(ctx, name, metav1.DeleteOptions{}))
	})
	if err != nil {
		s.Fatal(err)
	}
}

// deploying are the verbs that deploying a kind needs.
func deploying() []string { return []string{"get", "list", "watch", "create", "patch", "delete"} }

// feature is a check of the status of one list on cluster1.
func (s *scope) feature(profile string, id libv1beta1.FeatureID, want configv1beta1.FeatureStatus) func(context.Context) error {
	return func(ctx context.Context) error {
		summary, err := s.summary(ctx, profile, "cluster1")
		if err != nil || summary == nil {
			return errors.Join(errors.New("there is no summary"), err)
		}
		for _, feature := range summary.Status.FeatureSummaries {
			if feature.FeatureID == id && feature.Status == want {
				return nil
			}
		}
		return fmt.Errorf("features are %s", asJSON(summary.Status.FeatureSummaries))
	}
}

// TestApplying walks the ways in which a profile says how it is applied.
func TestApplying(t *testing.T) {
	t.Parallel()
	for name, walk := range map[string]func(*testing.T){
		"force and failures": applyByForce, "order": applyInOrder, "host": applyToTheHost, "tenants": applyAsTenants, "transition": applyInTransition,
	} {
		t.Run(name, walk)
	}
}

// applyByForce: a real API server refuses to change an immutable ConfigMap. The
// list is given up after its failures, and force deletes and creates it.
func applyByForce(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	immutable := func(value string) {
		s.applyRaw(source{name: s.name, data: documents(settings(s.name, value) + "immutable: true\n")})
	}
	ref := func(more string) string {
		return fmt.Sprintf("maxConsecutiveFailures: 2, policyRefs: [{kind: ConfigMap, namespace: %s, name: %s%s}]", s.name, s.name, more)
	}
	immutable("one")
	s.applySpec(ref(""))
	s.provisioned(s.name)
	untouched := s.staysUntouched("cluster1", s.name)
	immutable("two")
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "field is immutable", "ConfigMap "+contentNamespace+"/"+s.name)
	s.eventually("the list is given up", deploySoon, s.feature(s.name, libv1beta1.FeatureResources, configv1beta1.FeatureStatusFailedNonRetriable))
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
	s.applySpec(ref(", force: true"))
	s.awaitValue("cluster1", s.name, "two")
	s.provisioned(s.name)
	if err := untouched(s.Context()); err == nil {
		t.Error("an immutable object was changed")
	}
}

// applyInOrder: what comes later waits, a kind that stands behind its objects in a
// List is established first, a status is applied, and a profile that goes on after
// errors deploys the rest.
func applyInOrder(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	group := s.name + ".example.com"
	kind := fmt.Sprintf(`
- apiVersion: example.com/v1
  kind: Widget
  metadata: {namespace: %[1]s, name: %[2]s}
  status: {phase: Tested}
- apiVersion: apiextensions.k8s.io/v1
  kind: CustomResourceDefinition
  metadata: {name: widgets.%[3]s}
  spec:
    group: %[3]s
    scope: Namespaced
    names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
    versions:
    - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, contentNamespace, s.name, group)
	kind = strings.ReplaceAll(kind, "example.com/v1", group+"/v1")
	s.applyRaw(source{
		name: s.name, annotations: map[string]string{"projectsveltos.io/subresources": "status"},
		data: map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems:" + kind},
	})
	built := s.name + "-built"
	s.applySpec(fmt.Sprintf("featureOrder: [Kustomize, Resources], continueOnError: true, "+
		"kustomizationRefs: [{kind: ConfigMap, namespace: %[1]s, name: missing}, {kind: ConfigMap, namespace: %[1]s, name: %[2]s}], policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: %[1]s}]",
		s.name, built))
	s.applyKustomization(built, map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": settings(built, "built")})
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, "kustomizationRefs[0]")
	s.awaitValue("cluster1", built, "built")
	s.eventually("Resources waits", deploySoon, s.feature(s.name, libv1beta1.FeatureResources, configv1beta1.FeatureStatusProvisioning))
	s.applyKustomization("missing", map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": settings(s.name+"-found", "found")})
	s.provisioned(s.name)
	got, err := s.fleet.Managed("cluster1").Kubectl().Run(s.Context(), "get", "widgets."+group, s.name, "-n", contentNamespace, "-o", "jsonpath={.status.phase}")
	if err != nil || got.Stdout != "Tested" {
		t.Errorf("the widget's status is %q, %v", got.Stdout, err)
	}
}

// applyToTheHost: Muster may write nothing there unless a role says so; what it
// wrote is shown as local, pruned, and withdrawn. A Profile stays in its namespace.
func applyToTheHost(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	here := func(name string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: %s}\ndata: {cluster: '{{ .ClusterName }}'}\n", s.name, name)
	}
	onHost := func(want bool, name string) func(context.Context) error {
		return func(ctx context.Context) error {
			found, err := s.host.CoreV1().ConfigMaps(s.name).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) && !want {
				return nil
			}
			if err == nil && (!want || found.Data["cluster"] != "cluster1") {
				err = fmt.Errorf("the host has %s", asJSON(found))
			}
			return err
		}
	}
	s.applyRaw(source{name: "local", annotations: template(), data: documents(here("first"), here("second"))})
	s.applySource("remote", s.name)
	refs := fmt.Sprintf("syncMode: ContinuousWithDriftDetection, policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: remote}, {kind: ConfigMap, namespace: %[1]s, name: local, deploymentType: Local}]", s.name)
	s.applySpec(refs)
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, `cannot patch resource "configmaps"`, s.name, "rbac.hostRules")
	s.grant(s.host, s.name, "local", musterAccount(), "configmaps", deploying()...)
	s.provisioned(s.name)
	s.eventually("the host has it", soon, onHost(true, "first"))
	addons, err := s.muster.ConfigV1beta1().Addons(s.name).List(s.Context(), metav1.ListOptions{LabelSelector: "muster.projectsveltos.io/cluster=cluster1"})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]libv1beta1.DeploymentType{}
	for _, addon := range addons.Items {
		shown[addon.Name] = addon.DeploymentType
	}
	if shown["first"] != libv1beta1.DeploymentTypeLocal || shown[s.name] != libv1beta1.DeploymentTypeRemote {
		t.Errorf("add-ons are shown as %v", shown)
	}
	s.applyRaw(source{name: "local", annotations: template(), data: documents(here("first"))})
	s.eventually("it is pruned", deploySoon, onHost(false, "second"))
	edited := []byte(`{"data":{"cluster":"edited"}}`)
	if _, err := s.host.CoreV1().ConfigMaps(s.name).Patch(s.Context(), "first", types.MergePatchType, edited, metav1.PatchOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	s.eventually("what others change on the host is repaired", deploySoon, onHost(true, "first"))

	s.apply(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: outside}, data: {a.yaml: '%s'}}", s.name,
		"{apiVersion: v1, kind: ConfigMap, metadata: {namespace: default, name: "+s.name+"}}"))
	s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: Profile, metadata: {namespace: %[1]s, name: own}, spec: {%[2]s, policyRefs: [{kind: ConfigMap, name: outside, deploymentType: Local}]}}", s.name, s.everywhere()))
	s.eventually("a Profile stays in its namespace", deploySoon, func(ctx context.Context) error {
		summary, err := s.muster.ConfigV1beta1().ClusterSummaries(s.name).Get(ctx, "p--own-sveltos-cluster1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return saysAll("the status", asJSON(summary.Status), []string{"deploys to its own namespace"})
	})
	s.kubectl("delete", "clusterprofile", s.name)
	s.eventually("it is withdrawn", deploySoon, onHost(false, "first"))
}

// tenantKubeconfig makes an account in cluster1 and returns a kubeconfig for it.
func (s *scope) tenantKubeconfig(name string) []byte {
	s.Helper()
	accounts := s.managed["cluster1"].CoreV1().ServiceAccounts(contentNamespace)
	_, err := accounts.Create(s.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	s.later(func(ctx context.Context) error { return accounts.Delete(ctx, name, metav1.DeleteOptions{}) })
	token, err := accounts.CreateToken(s.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	config, err := s.fleet.Managed("cluster1").RESTConfig()
	if err != nil {
		s.Fatal(err)
	}
	data, err := clientcmd.Write(clientcmdapi.Config{
		CurrentContext: "it",
		Contexts:       map[string]*clientcmdapi.Context{"it": {Cluster: "it", AuthInfo: "it"}},
		Clusters:       map[string]*clientcmdapi.Cluster{"it": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"it": {Token: token.Status.Token}},
	})
	if err != nil {
		s.Fatal(err)
	}
	return data
}

// applyAsTenants: a labelled profile is read and deployed as the ServiceAccount, or not at
// all; each thing that is missing is named, and nothing that runs is touched over it.
func applyAsTenants(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	as := fleet.Identity{ServiceAccountNamespace: s.name, ServiceAccountName: "eng"}
	account := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: s.name, Name: "eng"}
	deploy := func(labels string) {
		s.apply(fmt.Sprintf("{apiVersion: config.projectsveltos.io/v1beta1, kind: ClusterProfile, metadata: {name: %[1]s, labels: {%[3]s}}, spec: {%[2]s, reloader: true, policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: content}]}}",
			s.name, s.everywhere(), labels))
	}
	// Nothing tells Muster of rights that it or a tenant got; a change of the cluster is
	// tried at once.
	nudges := 0
	nudge := func() {
		nudges++
		s.kubectl("annotate", "sveltoscluster", "-n", s.name, "cluster1", fmt.Sprintf("nudge=%d", nudges), "--overwrite")
	}
	s.applySource("content", s.name+"-old")
	deploy("")
	s.awaitContent("cluster1", true, s.name+"-old")
	untouched := s.staysUntouched("cluster1", s.name+"-old")
	s.applySource("content", s.name+"-old", s.name)
	s.awaitContent("cluster1", true, s.name)

	deploy("projectsveltos.io/serviceaccount-name: eng, projectsveltos.io/serviceaccount-namespace: " + s.name)
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "ServiceAccount "+s.name+"/eng", "rbac.tenantNamespaces")
	s.applySource("content", s.name+"-new")
	s.grant(s.host, s.name, "tenants", musterAccount(), "serviceaccounts", "get", "impersonate")
	nudge()
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "does not exist on the host")
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: %s, name: eng}}", s.name))
	nudge()
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "Secret "+s.name+"/sveltos-")
	managed := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: contentNamespace, Name: s.name}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: sveltoscluster.TenantSecretName("cluster1", as), Labels: sveltoscluster.TenantSecretLabels("cluster1", as)},
		Data:       map[string][]byte{"kubeconfig": s.tenantKubeconfig(s.name)},
	}
	if _, err := s.host.CoreV1().Secrets(s.name).Create(s.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonSourceMissing, `User "system:serviceaccount:`+s.name+`:eng" cannot get resource "configmaps"`)
	s.grant(s.host, s.name, "sources", account, "configmaps", "get")
	nudge()
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, `User "system:serviceaccount:`+contentNamespace+":"+s.name+`" cannot`)
	if err := errors.Join(untouched(s.Context()), s.hasContent("cluster1", true, s.name)(s.Context())); err != nil {
		t.Errorf("a tenant that lacks something lost what runs: %v", err)
	}
	s.grant(s.managed["cluster1"], contentNamespace, s.name, managed, "configmaps", deploying()...)
	nudge()
	s.provisioned(s.name)
	s.awaitContent("cluster1", true, s.name+"-new")
	s.awaitContent("cluster1", false, s.name+"-old", s.name)
	s.wantWritesBy("system:serviceaccount:"+contentNamespace+":"+s.name, s.name+"-new")

	// So is what the reloader does.
	s.grant(s.managed["cluster1"], contentNamespace, s.name+"-apps", managed, "deployments", deploying()...)
	s.applyRaw(source{name: "content", data: documents(settings(s.name, "1"), s.user())})
	generation := s.awaitNoted()
	s.applyRaw(source{name: "content", data: documents(settings(s.name, "2"), s.user())})
	s.awaitRestarted(generation + 1)
	s.wantRestartsBy("system:serviceaccount:" + contentNamespace + ":" + s.name)
	// Before the account goes.
	s.kubectl("delete", "clusterprofile", s.name)
}

// applyInTransition: a cluster that moves from one profile to another by its label keeps
// what both have.
func applyInTransition(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", map[string]string{"scope": s.name, "stage": "before"})
	profile := func(name, source, stage, more string) {
		s.applyProfile(name, source, fmt.Sprintf("clusterSelector: {matchLabels: {scope: %s, stage: %s}}\n  %s", s.name, stage, more))
	}
	before, next := s.name+"-before", s.name+"-next"
	s.applySource("old", s.name+"-a", s.name+"-b", s.name+"-gone")
	s.applySource("new", s.name+"-a", s.name+"-b", s.name+"-more")
	profile(before, "old", "before", "tier: 50")
	profile(next, "new", "next", "transitionFrom: "+before)
	s.awaitContent("cluster1", true, s.name+"-a", s.name+"-b", s.name+"-gone")
	a, b := s.staysUntouched("cluster1", s.name+"-a"), s.staysUntouched("cluster1", s.name+"-b")
	s.kubectl("label", "sveltoscluster", "-n", s.name, "cluster1", "stage=next", "--overwrite")
	s.awaitContent("cluster1", false, s.name+"-gone")
	s.awaitContent("cluster1", true, s.name+"-more")
	s.awaitNoSummary(before, "cluster1")
	s.provisioned(next)
	if err := errors.Join(a(s.Context()), b(s.Context())); err != nil {
		t.Errorf("not handed over: %v", err)
	}
}
