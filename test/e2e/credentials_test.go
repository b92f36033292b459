// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/test/fleet"
)

// storeKubeconfig replaces the kubeconfig of a registered cluster, and nothing
// else.
func (s *scope) storeKubeconfig(cluster string, data []byte) {
	s.Helper()
	secrets := s.host.CoreV1().Secrets(s.name)
	secret, err := secrets.Get(s.Context(), fleet.KubeconfigSecret(cluster), metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	secret.Data = map[string][]byte{"kubeconfig": data}
	if _, err := secrets.Update(s.Context(), secret, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// awaitCredentials waits until a cluster's credentials are found valid, or not
// for this reason.
func (s *scope) awaitCredentials(cluster string, want metav1.ConditionStatus, says string) {
	s.Helper()
	s.eventually(fmt.Sprintf("the credentials of %s are %s: %s", cluster, want, says), soon, func(ctx context.Context) error {
		found, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, cluster, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := condition(found.Status.Conditions, libv1beta1.ConditionCredentialsValid, want, ""); err != nil {
			return err
		}
		valid := meta.FindStatusCondition(found.Status.Conditions, libv1beta1.ConditionCredentialsValid)
		return saysAll("the condition", valid.Message, []string{says})
	})
}

// badKubeconfigs are made from a good one. What is secret in them is the canary.
func badKubeconfigs(s *scope, cluster, other, canary string) map[string]struct{ content, says string } {
	good := string(s.kubeconfigOf(cluster, clusterAdmin()))
	expired := clusterAdmin()
	expired.NotAfter = time.Now().Add(-time.Hour)
	foreign := strings.ReplaceAll(string(s.kubeconfigOf(other, clusterAdmin())),
		s.fleet.Managed(other).Address(), s.fleet.Managed(cluster).Address())
	return map[string]struct{ content, says string }{
		"empty":         {"", "empty"},
		"truncated":     {good[:len(good)/2], "truncated"},
		"no kubeconfig": {canary, "cannot be parsed"},
		"http":          {strings.Replace(good, "https://", "http://", 1), "https"},
		"exec": {withUser(good, "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: ["+canary+"], interactiveMode: Never}"),
			"exec"},
		"auth-provider":       {withUser(good, "auth-provider: {name: oidc, config: {id-token: "+canary+"}}"), "auth-provider"},
		"token file":          {withUser(good, "tokenFile: /var/run/"+canary), "tokenFile"},
		"wrong CA":            {foreign, "not signed by the kubeconfig's certificate authority"},
		"expired certificate": {string(s.kubeconfigOf(cluster, expired)), ""},
		"bad token":           {withUser(good, "token: "+canary), ""},
		"expired token":       {withUser(good, "token: "+expiredToken(s, cluster)), ""},
	}
}

// expiredToken is a ServiceAccount's token that the cluster signed and that ran
// out an hour ago. None that can be asked for is as short-lived as a test.
func expiredToken(s *scope, cluster string) string {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.fleet.Managed(cluster).Dir(), "service-account.key"))
	if err != nil {
		s.Fatal(err)
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(data)
	if err != nil {
		s.Fatal(err)
	}
	const issuer = "https://kubernetes.default.svc"
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": issuer, "aud": []string{issuer}, "sub": "system:serviceaccount:default:default",
		"iat": ago(3 * time.Hour), "nbf": ago(3 * time.Hour), "exp": ago(time.Hour),
		"kubernetes.io": map[string]any{"namespace": "default", "serviceaccount": map[string]any{"name": "default", "uid": "none"}},
	}).SignedString(key)
	if err != nil {
		s.Fatal(err)
	}
	return token
}

// TestBadCredentials: whatever is wrong with a kubeconfig, it says nothing about
// the cluster. Nothing moves, nothing is withdrawn, and users read what to do.
func TestBadCredentials(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.register(cluster, s.labels())
	}
	s.applySet()
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "setRefs: ["+s.name+"]")
	active := s.awaitOneSelected(s.name)
	other := map[string]string{"cluster1": "cluster2", "cluster2": "cluster1"}[active]
	s.awaitContent(active, true, s.name)
	untouched := s.staysUntouched(active, s.name)
	canary := "canary-" + s.name
	for name, bad := range badKubeconfigs(s, active, other, canary) {
		t.Log(name)
		s.storeKubeconfig(active, []byte(bad.content))
		s.awaitCredentials(active, metav1.ConditionFalse, bad.says)
		if selected, err := s.observer.Selected(s.Context(), s.name); err != nil || len(selected) != 1 || selected[0] != s.name+"/"+active {
			t.Errorf("%s: selected are %q, %v", name, selected, err)
		}
		if err := untouched(s.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Good again: at once, and not only when the next probe is due.
		s.storeKubeconfig(active, s.kubeconfigOf(active, clusterAdmin()))
		s.awaitCredentials(active, metav1.ConditionTrue, "")
	}
	s.kubectl("delete", "secret", fleet.KubeconfigSecret(active), "--namespace="+s.name)
	s.awaitCredentials(active, metav1.ConditionFalse, "Secret "+s.name+"/"+fleet.KubeconfigSecret(active))
	s.always("nothing moves", settle, func(ctx context.Context) error {
		if err := s.observer.OnlySelected(ctx, s.name, s.name+"/"+active); err != nil {
			return err
		}
		return untouched(ctx)
	})
	if err := s.hasContent(other, false, s.name)(s.Context()); err != nil {
		t.Error(err)
	}
	s.wantNoTrace(canary)
	// To withdraw, the cluster has to be reached again.
	if err := s.fleet.RegisterManaged(s.Context(), s.name, active, s.labels()); err != nil {
		t.Fatal(err)
	}
	s.awaitCredentials(active, metav1.ConditionTrue, "")
}

// TestRotation: the old credentials are revoked, new ones are stored, and Muster
// uses those alone.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	account := s.managed["cluster1"].CoreV1().ServiceAccounts(contentNamespace)
	kubectl := s.fleet.Managed("cluster1").Kubectl()
	run := func(args ...string) string {
		t.Helper()
		result, err := kubectl.Run(s.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(result.Stdout)
	}
	run("create", "serviceaccount", s.name, "--namespace="+contentNamespace)
	run("create", "clusterrolebinding", s.name, "--clusterrole=cluster-admin", "--serviceaccount="+contentNamespace+":"+s.name)
	s.later(func(ctx context.Context) error {
		_, err := kubectl.Run(ctx, "delete", "clusterrolebinding", s.name)
		return err
	})
	token := run("create", "token", s.name, "--namespace="+contentNamespace)
	s.storeKubeconfig("cluster1", []byte(withUser(string(s.kubeconfigOf("cluster1", clusterAdmin())), "token: "+token)))
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", s.everywhere())
	s.provisioned(s.name)
	s.wantWritesBy("system:serviceaccount:"+contentNamespace+":"+s.name, s.name)

	if err := account.Delete(s.Context(), s.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.awaitCredentials("cluster1", metav1.ConditionFalse, "")
	s.wantNoTrace(token)
	user := clusterAdmin()
	user.Name = "rotated-" + s.name
	s.storeKubeconfig("cluster1", s.kubeconfigOf("cluster1", user))
	s.awaitCredentials("cluster1", metav1.ConditionTrue, "")
	s.applySource("content", s.name, s.name+"-2")
	s.awaitContent("cluster1", true, s.name+"-2")
	s.wantWritesBy(user.Name, s.name+"-2")
}

// wantWritesBy: an object in cluster1 was written by this user and nobody else.
func (s *scope) wantWritesBy(user, name string) {
	s.Helper()
	events, err := s.fleet.Managed("cluster1").AuditEvents(func(e *auditv1.Event) bool {
		return fleet.IsWrite(e) && e.ObjectRef != nil && e.ObjectRef.Name == name && e.ObjectRef.Resource == "configmaps"
	})
	if err != nil || len(events) == 0 {
		s.Errorf("writes of %s: %d, %v", name, len(events), err)
	}
	for i := range events {
		if events[i].User.Username != user {
			s.Errorf("%s was written by %s, want %s", name, events[i].User.Username, user)
		}
	}
}

// TestDuplicateRegistration: one cluster under two names is said at both, by the
// other's name, until one goes.
func TestDuplicateRegistration(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster3", nil)
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "sveltoscluster", "twin", "--namespace="+s.name, "--ignore-not-found")
		return err
	})
	twin := fleet.Registration{Namespace: s.name, Name: "twin", Kubeconfig: s.kubeconfigOf("cluster3", clusterAdmin())}
	if err := s.fleet.Register(s.Context(), twin); err != nil {
		t.Fatal(err)
	}
	// Other tests register the same clusters: only the names tell.
	duplicate := func(cluster, other string, want bool) {
		t.Helper()
		s.eventually(fmt.Sprintf("%s names %s: %t", cluster, other, want), failoverSoon, func(ctx context.Context) error {
			found, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, cluster, metav1.GetOptions{})
			if err != nil {
				return err
			}
			duplicate := meta.FindStatusCondition(found.Status.Conditions, libv1beta1.ConditionDuplicateRegistration)
			named := duplicate != nil && duplicate.Status == metav1.ConditionTrue && strings.Contains(duplicate.Message, s.name+"/"+other)
			if named != want {
				return fmt.Errorf("the condition is %s", asJSON(duplicate))
			}
			return nil
		})
	}
	duplicate("cluster3", "twin", true)
	duplicate("twin", "cluster3", true)
	s.kubectl("delete", "sveltoscluster", "twin", "--namespace="+s.name)
	duplicate("cluster3", "twin", false)
}

// TestPaused: a paused cluster keeps what it has, selected or not, and gets what
// is new when it is no longer paused.
func TestPaused(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.applySet()
	from := source{name: "content", data: documents(settings(s.name, "1"))}
	s.applyRaw(from)
	s.applyProfile(s.name, "content", "setRefs: ["+s.name+"]")
	s.awaitValue("cluster1", s.name, "1")
	s.provisioned(s.name)
	s.kubectl("patch", "sveltoscluster", "cluster1", "--namespace="+s.name, "--type=merge", "--patch", `{"spec":{"paused":true}}`)
	s.eventually("the summary is suspended", soon, func(ctx context.Context) error {
		summary, err := s.summary(ctx, s.name, "cluster1")
		if err == nil && (summary == nil || !summary.Status.ReconciliationSuspended) {
			err = fmt.Errorf("the summary is %s", asJSON(summary))
		}
		return err
	})
	from.data = documents(settings(s.name, "2"))
	s.applyRaw(from)
	s.always("nothing changes, and it stays selected", settle, func(ctx context.Context) error {
		if err := s.observer.OnlySelected(ctx, s.name, s.name+"/cluster1"); err != nil {
			return err
		}
		return s.hasValue("cluster1", s.name, "1")(ctx)
	})
	s.kubectl("patch", "sveltoscluster", "cluster1", "--namespace="+s.name, "--type=merge", "--patch", `{"spec":{"paused":false}}`)
	s.awaitValue("cluster1", s.name, "2")
	s.awaitProfile(s.name, configv1beta1.ConditionReady, metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
}
