// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	"errors"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

const tenantKubeconfig = `{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it, user: me}}],
clusters: [{name: it, cluster: {server: "https://a.test"}}], users: [{name: me, user: {token: s3cret-token}}]}`

// The name is the one that upstream's RoleRequest gives, for these three by sha256sum.
func TestTenantSecretName(t *testing.T) {
	as := fleet.Identity{ServiceAccountNamespace: "b", ServiceAccountName: "c"}
	if got := TenantSecretName("a", as); got != "sveltos-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("name %s", got)
	}
}

func TestTenantTokens(t *testing.T) {
	as := fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
	cluster := clusterref.Of("civo", "cluster1")
	labels := TenantSecretLabels(cluster.Name, as)
	others := maps.Clone(labels)
	others["projectsveltos.io/role-service-account-name"] = "admin"
	secret := func(labels map[string]string, kubeconfig string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Data: map[string][]byte{"kubeconfig": []byte(kubeconfig)}}
	}
	for name, tc := range map[string]struct {
		secret *corev1.Secret
		says   string // nothing if there is a token
	}{
		"as it should be":          {secret(labels, tenantKubeconfig), ""},
		"missing":                  {nil, "ServiceAccount teams/eng has no rights on SveltosCluster civo/cluster1: Secret civo/sveltos-"},
		"of somebody else":         {secret(others, tenantKubeconfig), "should have the label projectsveltos.io/role-service-account-name=eng"},
		"nobody's":                 {secret(nil, tenantKubeconfig), "should have the label projectsveltos.io/role-cluster=cluster1"},
		"with nothing in it":       {secret(labels, ""), "key kubeconfig: "},
		"with a password in it":    {secret(labels, strings.Replace(tenantKubeconfig, "token: s3cret-token", "username: a, password: s3cret-token", 1)), "has no token"},
		"with a program to be run": {secret(labels, strings.Replace(tenantKubeconfig, "token:", "exec: {command: sh}, token:", 1)), "exec"},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := (&Tenants{Host: &secrets{secret: tc.secret}}).Token(t.Context(), cluster, as)
			if tc.says == "" {
				if err != nil || token != "s3cret-token" {
					t.Errorf("%q, %v", token, err)
				}
				return
			}
			var invalid *fleet.CredentialsError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v, want one with %q", err, tc.says)
			}
		})
	}
}
