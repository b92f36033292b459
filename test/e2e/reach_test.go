// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// readNear gives what the chart gives with rbac.readNamespaces.
const readNear = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "muster:read", namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [configmaps, secrets], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: "muster:read", namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "muster:read"}
subjects: [{kind: ServiceAccount, name: muster, namespace: projectsveltos}]
`

// readOnlyIn takes the right to read Secrets and ConfigMaps everywhere from
// Muster, and gives it in some namespaces.
func (i *installation) readOnlyIn(namespaces ...string) {
	i.Helper()
	config, err := i.Host.RESTConfig()
	if err != nil {
		i.Fatal(err)
	}
	host, err := kubernetes.NewForConfig(config)
	if err != nil {
		i.Fatal(err)
	}
	roles := host.RbacV1().ClusterRoles()
	role, err := roles.Get(i.Context(), "muster", metav1.GetOptions{})
	if err != nil {
		i.Fatal(err)
	}
	before := len(role.Rules)
	role.Rules = slices.DeleteFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Resources, "secrets") })
	if len(role.Rules) != before-1 {
		i.Fatalf("%d rules of ClusterRole muster are about Secrets", before-len(role.Rules))
	}
	if _, err := roles.Update(i.Context(), role, metav1.UpdateOptions{}); err != nil {
		i.Fatal(err)
	}
	for _, namespace := range namespaces {
		i.run(strings.ReplaceAll(readNear, "NAMESPACE", namespace), "apply", "-f", "-")
	}
}

// awaitCredentials waits until a cluster's credentials are invalid for what says.
func (i *installation) awaitCredentials(namespace string, says ...string) {
	i.Helper()
	i.eventually("the credentials in "+namespace+" are invalid", func(ctx context.Context) error {
		cluster, err := i.muster.LibV1beta1().SveltosClusters(namespace).Get(ctx, "cluster1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions := cluster.Status.Conditions
		if err := condition(conditions, libv1beta1.ConditionCredentialsValid, metav1.ConditionFalse, ""); err != nil {
			return err
		}
		return saysAll("the condition", meta.FindStatusCondition(conditions, libv1beta1.ConditionCredentialsValid).Message, says)
	})
}

// TestSecretsAreReadInListedNamespaces: with rights in some namespaces alone the
// controllers work, there, and say of the rest what is missing.
func TestSecretsAreReadInListedNamespaces(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "--source-namespaces=near")
	i.stop()
	i.run("", "create", "namespace", "near")
	i.run("", "create", "namespace", "far")
	i.readOnlyIn("near", "projectsveltos")
	i.start()
	for _, namespace := range []string{"near", "far"} {
		i.eventually("a cluster is registered in "+namespace, func(ctx context.Context) error {
			_, err := i.Host.Kubectl().Input(ctx, "apiVersion: lib.projectsveltos.io/v1beta1\nkind: SveltosCluster\nmetadata: {name: cluster1, namespace: "+namespace+"}", "apply", "-f", "-")
			return err
		})
	}
	const secret = "cluster1-sveltos-kubeconfig"
	i.awaitCredentials("far", `namespace "far"`, "--source-namespaces")
	i.awaitCredentials("near", "Secret near/"+secret, "does not exist")
	// Its appearance is seen by the watch in that namespace.
	i.run("", "create", "secret", "generic", secret, "--namespace=near", "--from-literal=kubeconfig=none")
	i.awaitCredentials("near", "cannot be parsed")
}
