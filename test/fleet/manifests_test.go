// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
)

func shippedManifests(t *testing.T) string {
	t.Helper()
	root, err := RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "artifacts", "deploy")
}

func key(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// The fleet changes how the aggregator finds the server, and nothing else:
// every right that Muster has in tests is one that is shipped.
func TestManifestsAreTheShippedOnes(t *testing.T) {
	m, err := loadManifests(shippedManifests(t), 12345)
	if err != nil {
		t.Fatal(err)
	}
	shipped := map[string]*unstructured.Unstructured{}
	paths, err := filepath.Glob(filepath.Join(shippedManifests(t), "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := decodeObjects(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			shipped[key(o)] = o
		}
	}
	for _, applied := range m.objects {
		want := shipped[key(applied)].DeepCopy()
		delete(shipped, key(applied))
		switch applied.GetKind() {
		case "Service":
			if applied.GetName() != "muster" {
				break
			}
			want.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": "localhost"}
		case "APIService":
			want.Object["spec"].(map[string]any)["service"].(map[string]any)["port"] = int64(12345)
		}
		if diff := cmp.Diff(want.Object, applied.Object); diff != "" {
			t.Errorf("%s (-shipped +applied):\n%s", key(applied), diff)
		}
	}
	workloads := sets.New("Deployment", "StatefulSet", "Job")
	for left, object := range shipped {
		if !workloads.Has(object.GetKind()) {
			t.Errorf("%s is shipped and not applied", left)
		}
	}
	if len(m.args) == 0 || m.args[0] != "server" {
		t.Errorf("the Deployment's arguments are %q, want those of muster server", m.args)
	}
	if len(m.apiServices) != 4 {
		t.Errorf("APIServices %q, want 4", m.apiServices)
	}
}

// What ships uses an etcd beside it and a key from a Secret; a single server on
// its own etcd has neither.
func TestArgumentsOfASingleServer(t *testing.T) {
	m, err := loadManifests(shippedManifests(t), 12345)
	if err != nil {
		t.Fatal(err)
	}
	dropped := sets.New(m.args...).Difference(sets.New(singleServer(m.args)...))
	for argument := range dropped {
		if !strings.HasPrefix(argument, "--etcd-") && !strings.HasPrefix(argument, "--encryption-provider-config") {
			t.Errorf("%s is shipped and not used", argument)
		}
	}
	for _, argument := range singleServer(m.args) {
		if strings.Contains(argument, "/etc/muster") || strings.Contains(argument, "muster-etcd") {
			t.Errorf("%s means nothing outside a Pod", argument)
		}
	}
}

func TestManifestsThatAreNotThere(t *testing.T) {
	if _, err := loadManifests(t.TempDir(), 1); err == nil || !strings.Contains(err.Error(), "no manifests") {
		t.Errorf("got %v", err)
	}
}

// review is one question to the host: who may do what. Aggregated kinds that
// nobody serves have no discovery, so kubectl could not ask it.
type review struct {
	user     string
	verb     string
	resource string // resource[/subresource][.group]
	where    string // namespace[/name], empty for all namespaces and cluster-wide
	want     bool
}

func (r review) ask(t *testing.T, client kubernetes.Interface) bool {
	t.Helper()
	resource, group, _ := strings.Cut(r.resource, ".")
	resource, subresource, _ := strings.Cut(resource, "/")
	namespace, name, _ := strings.Cut(r.where, "/")
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: r.user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: r.verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace, Name: name,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// testManifests applies the directory as a user would, and asks the host what
// Muster and the people with its built-in roles may do then.
func testManifests(t *testing.T, f *Fleet) {
	run(t, f.Host, "apply", "-f", shippedManifests(t))
	for _, role := range []string{"view", "edit", "admin"} {
		run(t, f.Host, "create", "clusterrolebinding", "test-"+role, "--clusterrole="+role, "--user="+role)
	}
	config, err := f.Host.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	const lib, cfg = ".lib.projectsveltos.io", ".config.projectsveltos.io"
	const accounts = "system:serviceaccount:" + Namespace + ":"
	const muster, etcdMember, prepare = accounts + ServiceAccount, accounts + "muster-etcd", accounts + "muster-prepare"
	await(t, "the host's roles have Muster's kinds", func() bool {
		return review{user: "admin", verb: "create", resource: "sets" + lib}.ask(t, client) &&
			review{user: "edit", verb: "create", resource: "sets" + lib}.ask(t, client) &&
			review{user: "view", verb: "get", resource: "sets" + lib}.ask(t, client)
	})
	for _, r := range []review{
		{muster, "watch", "secrets", "", true},
		{muster, "watch", "configmaps", "", true},
		{muster, "create", "secrets", Namespace, true},
		{muster, "update", "leases.coordination.k8s.io", Namespace, true},
		{muster, "create", "tokenreviews.authentication.k8s.io", "", true},
		{muster, "create", "subjectaccessreviews.authorization.k8s.io", "", true},
		{muster, "get", "configmaps", "kube-system/extension-apiserver-authentication", true},
		{muster, "watch", "mutatingadmissionpolicies.admissionregistration.k8s.io", "", true},
		{muster, "watch", "mutatingadmissionpolicybindings.admissionregistration.k8s.io", "", true},
		{muster, "watch", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", true},
		{muster, "watch", "validatingadmissionpolicies.admissionregistration.k8s.io", "", true},
		{muster, "watch", "validatingadmissionpolicybindings.admissionregistration.k8s.io", "", true},
		{muster, "watch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", true},
		{muster, "watch", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", "", true},
		{muster, "patch", "apiservices.apiregistration.k8s.io", "/v1beta1.lib.projectsveltos.io", true},
		{muster, "create", "events", "civo", true},

		{muster, "patch", "apiservices.apiregistration.k8s.io", "/v1.apps", false},
		{muster, "create", "apiservices.apiregistration.k8s.io", "", false},
		{muster, "create", "secrets", "kube-system", false},
		{muster, "delete", "secrets", Namespace, false},
		{muster, "update", "configmaps", "kube-system", false},
		{muster, "update", "secrets", Namespace + "/muster-serving-cert", true},
		{muster, "update", "secrets", Namespace + "/muster-encryption", false},
		{muster, "update", "configmaps", Namespace + "/muster-etcd", false},
		{muster, "create", "pods", Namespace, false},
		{muster, "create", "serviceaccounts/token", Namespace, false},
		{muster, "impersonate", "users", "", false},
		{muster, "delete", "namespaces", "", false},
		{muster, "create", "clusterrolebindings.rbac.authorization.k8s.io", "", false},

		{etcdMember, "update", "configmaps", Namespace + "/muster-etcd", true},
		{etcdMember, "get", "secrets", Namespace + "/muster-etcd-certificates", false},
		{etcdMember, "update", "configmaps", Namespace + "/muster-storage", false},
		{prepare, "create", "secrets", Namespace, true},
		{prepare, "update", "secrets", Namespace + "/muster-etcd-certificates", true},
		{prepare, "update", "secrets", Namespace + "/muster-encryption", false},
		{prepare, "get", "secrets", Namespace + "/muster-serving-cert", false},
		{prepare, "create", "secrets", "kube-system", false},

		{"view", "get", "clustersets/selection" + lib, "", true},
		{"view", "get", "sets/selection" + lib, "civo", true},
		{"view", "list", "addons" + cfg, "", true},
		{"view", "create", "clusterprofiles" + cfg, "", false},
		{"view", "get", "clusterprofiles/diff" + cfg, "", false},
		{"view", "get", "secrets", "civo", false},
		{"edit", "delete", "sveltosclusters" + lib, "civo", true},
		{"edit", "update", "clustersets/status" + lib, "", false},
		{"edit", "update", "clustersummaries" + cfg, "civo", false},
		{"admin", "patch", "profiles" + cfg, "civo", true},
		{"admin", "delete", "clustersummaries" + cfg, "civo", false},
		{"jane", "get", "clustersets" + lib, "", false},
	} {
		if got := r.ask(t, client); got != r.want {
			t.Errorf("%s may %s %s in %q: %t, want %t", r.user, r.verb, r.resource, r.where, got, r.want)
		}
	}
}
