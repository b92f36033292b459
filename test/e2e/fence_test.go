// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet/fence"
	"github.com/muster-project/muster/test/fleet"
)

// switchFence asks for a fence around cluster1, or no longer.
func (s *scope) switchFence(on bool) {
	s.Helper()
	s.kubectl("annotate", "sveltoscluster", "cluster1", "--namespace="+s.name, "--overwrite",
		libv1beta1.AnnotationFence+"="+strconv.FormatBool(on))
}

// awaitFence waits until cluster1 says this of its fence; it says nothing if
// reason is empty.
func (s *scope) awaitFence(status metav1.ConditionStatus, reason string, says ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("the fence is %s %s", status, reason), deploySoon, func(ctx context.Context) error {
		cluster, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, "cluster1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		found := meta.FindStatusCondition(cluster.Status.Conditions, libv1beta1.ConditionFenced)
		if reason == "" && found == nil {
			return nil
		}
		if err := condition(cluster.Status.Conditions, libv1beta1.ConditionFenced, status, reason); err != nil || reason == "" {
			return fmt.Errorf("conditions %s", asJSON(cluster.Status.Conditions))
		}
		return saysAll("the condition", found.Message, says)
	})
}

// fenceEpoch is the epoch of the leader whom cluster1's fence is for, and the
// fence's version.
func (s *scope) fenceEpoch(ctx context.Context) (int64, string, error) {
	policy, err := s.managed["cluster1"].AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, fence.Name, metav1.GetOptions{})
	if err != nil {
		return 0, "", err
	}
	epoch, err := strconv.ParseInt(policy.Annotations[fence.ExtraKey], 10, 64)
	return epoch, policy.ResourceVersion, err
}

// leader is a client of cluster1 with Muster's own credentials that says it has
// these epochs, as a leader of that term would.
func (s *scope) leader(epochs ...string) kubernetes.Interface {
	s.Helper()
	config, err := s.fleet.Managed("cluster1").UserRESTConfig(clusterAdmin())
	if err != nil {
		s.Fatal(err)
	}
	if len(epochs) > 0 {
		config.Impersonate = rest.ImpersonationConfig{
			UserName: clusterAdmin().Name, Groups: clusterAdmin().Groups, Extra: map[string][]string{fence.ExtraKey: epochs},
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	return client
}

// kindsOfWrites are those that a leader makes, to ConfigMap kept, which is there,
// and to new objects of these names.
func kindsOfWrites(ctx context.Context, client kubernetes.Interface, name string) map[string]func() error {
	configMaps, secrets := client.CoreV1().ConfigMaps(contentNamespace), client.CoreV1().Secrets(contentNamespace)
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name + "-kept"}}
	return map[string]func() error{
		"create": func() error {
			_, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}}, metav1.CreateOptions{})
			return err
		},
		"update": func() error {
			_, err := configMaps.Update(ctx, kept, metav1.UpdateOptions{})
			return err
		},
		"patch": func() error {
			_, err := configMaps.Patch(ctx, kept.Name, types.MergePatchType, []byte(`{"data":{"patched":"yes"}}`), metav1.PatchOptions{})
			return err
		},
		"server-side apply": func() error {
			_, err := configMaps.Apply(ctx, applycorev1.ConfigMap(kept.Name, contentNamespace), metav1.ApplyOptions{FieldManager: "muster", Force: true})
			return err
		},
		"Helm's Secret": func() error {
			_, err := secrets.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "sh.helm.release.v1." + name + ".v"}, Type: "helm.sh/release.v1",
			}, metav1.CreateOptions{})
			return err
		},
		"delete": func() error { return configMaps.Delete(ctx, kept.Name, metav1.DeleteOptions{}) },
		"delete all": func() error {
			return configMaps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=" + kept.Name})
		},
	}
}

// wantWrites sees to it that every kind of write by a client is let through, or
// is denied by the fence.
func (s *scope) wantWrites(who string, client kubernetes.Interface, through bool) {
	s.Helper()
	writes := kindsOfWrites(s.Context(), client, s.name)
	for _, kind := range slices.Sorted(maps.Keys(writes)) {
		kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: s.name + "-kept"}}
		_, err := s.managed["cluster1"].CoreV1().ConfigMaps(contentNamespace).Create(s.Context(), kept, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			s.Fatal(err)
		}
		err = writes[kind]()
		switch {
		case through && err != nil:
			s.Errorf("%s: %s: %v", who, kind, err)
		case !through && (err == nil || !strings.Contains(err.Error(), fence.Name) || !strings.Contains(err.Error(), "a later one")):
			s.Errorf("%s: %s is not denied by the fence: %v", who, kind, err)
		}
	}
}

// TestFence: with the fence on, a managed cluster denies whatever a former leader
// sends, from the moment on that its successor has come, and nothing else.
func TestFence(t *testing.T) {
	s := newScope(t).breaks()
	s.later(s.removeFence)
	s.later(s.removeWrites)
	s.register("cluster1", s.labels())
	s.switchFence(true)
	s.awaitFence(metav1.ConditionTrue, libv1beta1.ReasonFenceStands)
	repository := s.chartRepository()
	from := source{name: "content", data: documents(settings(s.name, "1"))}
	s.applyRaw(from)
	charts := func(color string) {
		s.applyCharts(s.name, "content", chartEntry(repository, "settings", "1.0.0", s.name+"-chart", `, values: "color: `+color+`"`))
	}
	charts("red")
	s.provisioned(s.name)
	former, version, err := s.fenceEpoch(s.Context())
	if err != nil {
		t.Fatal(err)
	}
	stale := s.leader(strconv.FormatInt(former, 10))
	s.wantWrites("the leader", stale, true)

	s.restartMuster()
	var current int64
	s.eventually("the next term has raised the fence", deploySoon, func(ctx context.Context) (err error) {
		if current, version, err = s.fenceEpoch(ctx); err == nil && current <= former {
			err = fmt.Errorf("its epoch is %d", current)
		}
		return err
	})
	// What API servers know of a policy they know a moment after it was written.
	s.awaitFence(metav1.ConditionTrue, libv1beta1.ReasonFenceStands)
	from.data = documents(settings(s.name, "2"))
	s.applyRaw(from)
	s.awaitValue("cluster1", s.name, "2")
	charts("blue")
	s.awaitChart("cluster1", s.name+"-chart", "1.0.0", "blue")
	s.provisioned(s.name)
	s.wantWrites("a former leader", stale, false)
	s.wantWrites("a leader without an epoch", s.leader("seven"), false)
	s.wantWrites("a leader with two epochs", s.leader(strconv.FormatInt(former, 10), strconv.FormatInt(current, 10)), false)
	s.wantWrites("the leader", s.leader(strconv.FormatInt(current, 10)), true)
	s.wantWrites("the next leader", s.leader(strconv.FormatInt(current+1, 10)), true)
	s.wantWrites("the same user, who is no leader", s.leader(), true)
	s.wantWrites("an administrator", s.managed["cluster1"], true)
	if _, now, err := s.fenceEpoch(s.Context()); err != nil || now != version {
		t.Errorf("the policy was written without a reason: version %s, then %s, %v", version, now, err)
	}

	s.switchFence(false)
	s.awaitFence("", "")
	s.eventually("policy and binding are gone", soon, s.noFence)
	s.eventually("the API server has heard of it", soon, func(ctx context.Context) error {
		proof := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: s.name + "-"}}
		_, err := stale.CoreV1().ConfigMaps(contentNamespace).Create(ctx, proof, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	s.wantWrites("whoever it was", stale, true)
	from.data = documents(settings(s.name, "3"))
	s.applyRaw(from)
	s.awaitValue("cluster1", s.name, "3")
}

// noFence fails while there is anything of a fence in cluster1.
func (s *scope) noFence(ctx context.Context) error {
	client := s.managed["cluster1"].AdmissionregistrationV1()
	_, policy := client.ValidatingAdmissionPolicies().Get(ctx, fence.Name, metav1.GetOptions{})
	_, binding := client.ValidatingAdmissionPolicyBindings().Get(ctx, fence.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(policy) || !apierrors.IsNotFound(binding) {
		return fmt.Errorf("reading them: %w", errors.Join(policy, binding, errors.New("one is there")))
	}
	return nil
}

func (s *scope) removeFence(ctx context.Context) error {
	_, err := s.fleet.Managed("cluster1").Kubectl().Run(ctx, "delete", "--ignore-not-found",
		"validatingadmissionpolicy/"+fence.Name, "validatingadmissionpolicybinding/"+fence.Name)
	return err
}

// removeWrites removes what kindsOfWrites leave.
func (s *scope) removeWrites(ctx context.Context) error {
	client := s.managed["cluster1"].CoreV1()
	configMaps, err := client.ConfigMaps(contentNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, found := range configMaps.Items {
		if strings.HasPrefix(found.Name, s.name) {
			err = errors.Join(err, client.ConfigMaps(contentNamespace).Delete(ctx, found.Name, metav1.DeleteOptions{}))
		}
	}
	secrets, listErr := client.Secrets(contentNamespace).List(ctx, metav1.ListOptions{})
	if listErr != nil {
		return listErr
	}
	for _, found := range secrets.Items {
		if strings.Contains(found.Name, s.name) {
			err = errors.Join(err, client.Secrets(contentNamespace).Delete(ctx, found.Name, metav1.DeleteOptions{}))
		}
	}
	return err
}

// TestFenceNeedsItsRights: nothing is written where a fence is asked for and the
// kubeconfig's user may not raise it, and the rights that the documentation
// names are enough.
func TestFenceNeedsItsRights(t *testing.T) {
	s := newScope(t).breaks()
	s.later(s.removeFence)
	cluster := s.fleet.Managed("cluster1").Kubectl()
	s.later(func(ctx context.Context) error {
		_, err := cluster.Run(ctx, "delete", "--ignore-not-found", "clusterrole,clusterrolebinding", "--selector=scope="+s.name)
		_, namespaceErr := cluster.Run(ctx, "delete", "--ignore-not-found", "--wait=false", "namespace", s.name)
		return errors.Join(err, namespaceErr)
	})
	// What Muster needs for this test's content, as a ServiceAccount named muster.
	run := func(manifest string) {
		t.Helper()
		if _, err := cluster.Input(s.Context(), manifest, "apply", "-f", "-"); err != nil {
			t.Fatalf("%v\n%s", err, manifest)
		}
	}
	role := func(name, rules string) {
		t.Helper()
		run(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s, labels: {scope: %[2]s}}
rules: %[3]s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s, labels: {scope: %[2]s}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}
subjects: [{kind: ServiceAccount, name: muster, namespace: %[2]s}]
`, name, s.name, rules))
	}
	run(fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %[1]s}}\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: muster, namespace: %[1]s}}", s.name))
	role(s.name, `[{apiGroups: [""], resources: [configmaps], verbs: [get, list, create, patch, delete]}, {apiGroups: [""], resources: [namespaces], verbs: [get]}]`)
	token, err := s.managed["cluster1"].CoreV1().ServiceAccounts(s.name).CreateToken(s.Context(), "muster", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := withUser(string(s.kubeconfigOf("cluster1", clusterAdmin())), "token: "+token.Status.Token)
	if err := s.fleet.Register(s.Context(), fleet.Registration{Namespace: s.name, Name: "cluster1", Labels: s.labels(), Kubeconfig: []byte(kubeconfig)}); err != nil {
		t.Fatal(err)
	}
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "sveltoscluster", "cluster1", "--namespace="+s.name, "--ignore-not-found")
		return err
	})
	s.awaitReady("cluster1", true)
	s.switchFence(true)
	s.awaitFence(metav1.ConditionFalse, libv1beta1.ReasonFenceForbidden, "validatingadmissionpolicybindings", "muster-fence")
	from := source{name: "content", data: documents(settings(s.name, "1"))}
	s.applyRaw(from)
	s.applyProfile(s.name, "content", s.everywhere())
	s.awaitFailure(s.name, "cluster1", configv1beta1.ReasonFailed, "fence", "forbidden")
	if found, err := s.content(s.Context(), "cluster1", s.name); err != nil || found != nil {
		t.Errorf("it was deployed without a fence: %v, %v", found, err)
	}

	role(s.name+"-fence", documentedRules(t, s.path("docs/operations.md")))
	s.awaitFence(metav1.ConditionTrue, libv1beta1.ReasonFenceStands)
	s.awaitValue("cluster1", s.name, "1")
	s.provisioned(s.name)
	s.kubectl("delete", "clusterprofile", s.name)
	s.switchFence(false)
	s.awaitFence("", "")
	if err := s.noFence(s.Context()); err != nil {
		t.Error(err)
	}
}

// documentedRules are the rules of the ClusterRole that operators are told to
// make for a fence, as YAML.
func documentedRules(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "metadata: {name: "+fence.Name+"}\nrules:\n")
	rules, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("%s has no ClusterRole %s", path, fence.Name)
	}
	return "\n" + rules
}
