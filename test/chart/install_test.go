// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/cmd/muster/installation"
	"github.com/muster-project/muster/test/fleet"
)

// limit is how long one step on the host may take.
const limit = time.Minute

// installed is a release on a host that has no nodes: what a node would run, the
// tests run, as the account of the Pod and with its arguments.
type installed struct {
	fleet  *fleet.Fleet
	client kubernetes.Interface
}

// TestInstallation goes from the first command of the README to the last, by the
// real Helm on a real host. Muster itself does not run: an uninstallation has to
// work without it, too.
func TestInstallation(t *testing.T) {
	f, err := fleet.Start(t.Context(), fleet.Options{Dir: t.TempDir(), WithoutMuster: true, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := f.Host.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	i := &installed{fleet: f, client: client}
	for _, namespace := range []string{namespace, "fleet-a", "fleet-b", "tenant"} {
		i.kubectl(t, "create", "namespace", namespace)
	}
	for name, values := range valuesSets {
		t.Run("the host takes "+name, func(t *testing.T) { i.acceptable(t, values) })
	}
	t.Run("install", i.install)
	t.Run("scale", i.scale)
	t.Run("uninstall", i.uninstall)
	t.Run("install again", i.installAgain)
	i.kubectl(t, "delete", "namespace", "tenant", namespace, "--timeout=60s")
}

func (i *installed) kubectl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := i.fleet.Host.Kubectl().Run(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// helm runs Helm, which has to succeed.
func (i *installed) helm(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	if out, err := i.runHelm(ctx, t, args...); err != nil {
		t.Errorf("helm %s: %v\n%s", args[0], err, out)
	}
}

// runHelm runs Helm in the release's namespace, as the host's administrator.
func (i *installed) runHelm(ctx context.Context, t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(ctx, filepath.Join(root(t), "bin", "helm"),
		append(args, "--namespace="+namespace, "--kubeconfig="+i.fleet.Host.DirectKubeconfigFile())...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// acceptable has the host check what is rendered, as it would if it were applied.
func (i *installed) acceptable(t *testing.T, values string) {
	var manifests strings.Builder
	for _, object := range render(t, values) {
		if object.GetObjectKind().GroupVersionKind().Kind == "ServiceMonitor" {
			continue
		}
		data, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		manifests.WriteString("---\n" + string(data))
	}
	if _, err := i.fleet.Host.Kubectl().Input(t.Context(), manifests.String(),
		"apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
		t.Error(err)
	}
}

func (i *installed) chart(t *testing.T) string {
	return filepath.Join(root(t), "artifacts", "chart", "muster")
}

// as returns a kubeconfig file of a ServiceAccount.
func (i *installed) as(t *testing.T, account string) string {
	t.Helper()
	token, err := i.fleet.Host.Kubectl().Run(t.Context(), "create", "token", account, "--namespace="+namespace)
	if err != nil {
		t.Fatal(err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["host"] = &clientcmdapi.Cluster{Server: "https://" + i.fleet.Host.Address(), CertificateAuthorityData: i.fleet.Host.CA()}
	config.AuthInfos["account"] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token.Stdout)}
	config.Contexts["account"] = &clientcmdapi.Context{Cluster: "host", AuthInfo: "account"}
	config.CurrentContext = "account"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// runAs runs a command with a Pod's arguments as the Pod's account.
func (i *installed) runAs(t *testing.T, pod *corev1.PodSpec, command *cobra.Command) {
	t.Helper()
	if args := pod.Containers[0].Args; len(args) == 0 || args[0] != command.Name() {
		t.Fatalf("the Pod runs %q", args)
	}
	command.SetArgs(append(pod.Containers[0].Args[1:], "--kubeconfig="+i.as(t, pod.ServiceAccountName)))
	if err := command.ExecuteContext(t.Context()); err != nil {
		t.Errorf("muster %s as %s: %v", command.Name(), pod.ServiceAccountName, err)
	}
}

// job waits for a Job by its component's label.
func (i *installed) job(ctx context.Context, t *testing.T, component string) *batchv1.Job {
	t.Helper()
	var found *batchv1.Job
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		list, err := i.client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component})
		if err != nil || len(list.Items) == 0 {
			return false, err
		}
		found = &list.Items[0]
		return true, nil
	})
	if err != nil {
		t.Fatalf("waiting for the Job of %s: %v", component, err)
	}
	return found
}

func (i *installed) secrets(t *testing.T) map[string]map[string][]byte {
	t.Helper()
	found := map[string]map[string][]byte{}
	for _, name := range []string{"muster-encryption", "muster-etcd-authority", "muster-etcd-certificates"} {
		secret, err := i.client.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found[name] = secret.Data
	}
	return found
}

func (i *installed) install(t *testing.T) {
	i.helm(t.Context(), t, "install", "muster", i.chart(t), "--set=backup.enabled=true")
	i.runAs(t, &i.job(t.Context(), t, "prepare").Spec.Template.Spec, installation.NewPrepareCommand())
	first := i.secrets(t)
	i.runAs(t, &i.job(t.Context(), t, "prepare").Spec.Template.Spec, installation.NewPrepareCommand())
	if diff := cmp.Diff(first, i.secrets(t)); diff != "" {
		t.Errorf("the second run changed Secrets (-first +second):\n%s", diff)
	}
}

// Scaling is a change of the Deployment and of nothing else.
func (i *installed) scale(t *testing.T) {
	secrets := i.secrets(t)
	statefulSet := func() string {
		s, err := i.client.AppsV1().StatefulSets(namespace).Get(t.Context(), "muster-etcd", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(s.UID) + " " + strconv.FormatInt(s.Generation, 10)
	}
	before := statefulSet()
	for _, replicas := range []string{"3", "1"} {
		i.helm(t.Context(), t, "upgrade", "muster", i.chart(t), "--reuse-values", "--set=replicaCount="+replicas)
		i.kubectl(t, "wait", "--namespace="+namespace, "deployment/muster", "--for=jsonpath={.spec.replicas}="+replicas, "--timeout=10s")
	}
	i.notFewerMembers(t)
	if after := statefulSet(); after != before {
		t.Errorf("etcd was %s and is %s", before, after)
	}
	if diff := cmp.Diff(secrets, i.secrets(t)); diff != "" {
		t.Errorf("Secrets (-before +after):\n%s", diff)
	}
}

// notFewerMembers lowers the number of etcd's members, which Helm refuses before
// it changes anything.
func (i *installed) notFewerMembers(t *testing.T) {
	t.Helper()
	out, err := i.runHelm(t.Context(), t, "upgrade", "muster", i.chart(t), "--reuse-values", "--set=etcd.replicas=1")
	if err == nil || !strings.Contains(out, "etcd.replicas is 1, and etcd has 3 members") {
		t.Errorf("fewer members: %v\n%s", err, out)
	}
}

// installAgain finds what an uninstallation has kept: the keys, and the claim of
// the backups, which Helm takes up as its own.
func (i *installed) installAgain(t *testing.T) {
	kept := i.secrets(t)
	i.kubectl(t, "get", "--namespace="+namespace, "persistentvolumeclaim/muster-backup")
	i.install(t)
	if diff := cmp.Diff(kept, i.secrets(t)); diff != "" {
		t.Errorf("keys (-before +after):\n%s", diff)
	}
	i.uninstall(t)
}

// uninstall stands in for the node of the hook's Pod. While the APIServices lead
// to a server that is not there, no namespace can be deleted; afterwards all can.
func (i *installed) uninstall(t *testing.T) {
	kept := i.secrets(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*limit)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		i.helm(ctx, t, "uninstall", "muster", "--timeout=2m")
	}()
	defer func() {
		cancel()
		<-ended
	}()
	job := i.job(ctx, t, "uninstall")
	i.runAs(t, &job.Spec.Template.Spec, installation.NewUnregisterCommand())
	list, err := i.fleet.Host.Kubectl().Run(ctx, "get", "apiservices", "--selector=app.kubernetes.io/name=muster", "--output=name")
	if err != nil || list.Stdout != "" {
		t.Errorf("APIServices left: %q, %v", list.Stdout, err)
	}
	i.succeed(ctx, t, job)
	<-ended
	if diff := cmp.Diff(kept, i.secrets(t)); diff != "" {
		t.Errorf("keys after uninstallation (-before +after):\n%s", diff)
	}
	for _, kind := range []string{"deployment", "statefulset", "job", "clusterrole", "clusterrolebinding", "flowschema", "serviceaccount"} {
		left, err := i.fleet.Host.Kubectl().Run(ctx, "get", kind, "--all-namespaces", "--selector=app.kubernetes.io/part-of=muster", "--output=name")
		if err != nil || left.Stdout != "" {
			t.Errorf("left after uninstallation: %q, %v", left.Stdout, err)
		}
	}
	i.kubectl(t, "delete", "namespace", "fleet-a", "--timeout=60s")
	i.kubectl(t, "create", "namespace", "fleet-a")
}

// succeed reports that the Job's Pod has ended well.
func (i *installed) succeed(ctx context.Context, t *testing.T, job *batchv1.Job) {
	t.Helper()
	pods := i.client.CoreV1().Pods(namespace)
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "job-name=" + job.Name})
		if err != nil || len(list.Items) == 0 {
			return false, err
		}
		pod := &list.Items[0]
		pod.Status.Phase = corev1.PodSucceeded
		_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err == nil, ignoreConflict(err)
	})
	if err != nil {
		t.Errorf("ending the Pod of Job %s: %v", job.Name, err)
	}
}

func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}
