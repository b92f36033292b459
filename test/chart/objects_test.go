// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestWhatIsRenderedFitsTogether(t *testing.T) {
	for name, values := range valuesSets {
		t.Run(name, func(t *testing.T) {
			objects := render(t, values)
			checkNames(t, objects)
			checkSelectors(t, objects)
			for name, template := range podTemplates(objects) {
				checkSecurity(t, name, &template.Spec)
				checkReferences(t, name, &template.Spec, objects)
			}
		})
	}
}

// checkNames wants each object once, in its namespace. No Secret is among them:
// a template cannot know whether it exists, and would replace its keys.
func checkNames(t *testing.T, objects []client.Object) {
	t.Helper()
	clusterScoped := sets.New("ClusterRole", "ClusterRoleBinding", "APIService", "FlowSchema")
	seen := sets.New[string]()
	for _, object := range objects {
		kind := object.GetObjectKind().GroupVersionKind().Kind
		key := kind + " " + object.GetNamespace() + "/" + object.GetName()
		if seen.Has(key) {
			t.Errorf("%s is there twice", key)
		}
		seen.Insert(key)
		if clusterScoped.Has(kind) != (object.GetNamespace() == "") {
			t.Errorf("%s: its namespace is not what its kind wants", key)
		}
		if object.GetLabels()["app.kubernetes.io/name"] != "muster" {
			t.Errorf("%s has no name label", key)
		}
		if kind == "Secret" {
			t.Errorf("%s is rendered", key)
		}
	}
}

// checkSelectors wants every selector to match the Pods that it is about, and
// those alone: one label less, and requests for Muster would go to etcd.
func checkSelectors(t *testing.T, objects []client.Object) {
	t.Helper()
	templates := podTemplates(objects)
	check := func(what string, selector labels.Selector, want string) {
		t.Helper()
		var selected []string
		for name, template := range templates {
			if selector.Matches(labels.Set(template.Labels)) {
				selected = append(selected, name)
			}
		}
		if diff := gocmp.Diff([]string{want}, selected); diff != "" {
			t.Errorf("%s selects (-want +got):\n%s", what, diff)
		}
	}
	workloads := map[string]string{"muster": "Deployment muster", "muster-etcd": "StatefulSet muster-etcd"}
	parse := func(s *metav1.LabelSelector) labels.Selector {
		t.Helper()
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return selector
	}
	for _, o := range all[*appsv1.Deployment](objects) {
		check("Deployment "+o.Name, parse(o.Spec.Selector), workloads[o.Name])
	}
	for _, o := range all[*appsv1.StatefulSet](objects) {
		check("StatefulSet "+o.Name, parse(o.Spec.Selector), workloads[o.Name])
		one[*corev1.Service](t, objects, o.Spec.ServiceName)
	}
	for _, o := range all[*policyv1.PodDisruptionBudget](objects) {
		check("PodDisruptionBudget "+o.Name, parse(o.Spec.Selector), workloads[o.Name])
	}
	for _, o := range all[*networkingv1.NetworkPolicy](objects) {
		check("NetworkPolicy "+o.Name, parse(&o.Spec.PodSelector), workloads[o.Name])
	}
	for _, o := range all[*corev1.Service](objects) {
		check("Service "+o.Name, labels.SelectorFromSet(o.Spec.Selector), workloads[o.Name])
		for _, port := range o.Spec.Ports {
			container := templates[workloads[o.Name]].Spec.Containers[0]
			if !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.TargetPort.StrVal }) {
				t.Errorf("Service %s leads to port %s, which no container has", o.Name, port.TargetPort.String())
			}
		}
	}
}

// checkSecurity wants what the restricted Pod security standard does, and a
// root file system that nobody writes.
func checkSecurity(t *testing.T, name string, spec *corev1.PodSpec) {
	t.Helper()
	pod := spec.SecurityContext
	if pod == nil || pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot || pod.RunAsUser == nil || *pod.RunAsUser == 0 ||
		pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: security context %+v", name, pod)
	}
	for _, container := range spec.Containers {
		c := container.SecurityContext
		if c == nil || c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation ||
			c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem ||
			c.Capabilities == nil || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(c.Capabilities.Add) > 0 {
			t.Errorf("%s: container %s: security context %+v", name, container.Name, c)
		}
		if container.Resources.Requests.Cpu().IsZero() || container.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: container %s asks for no processor time or may use all memory", name, container.Name)
		}
	}
}

// checkReferences wants what a Pod names to be there: a Pod that waits for a
// volume says nothing.
func checkReferences(t *testing.T, name string, spec *corev1.PodSpec, objects []client.Object) {
	t.Helper()
	if account := spec.ServiceAccountName; account != "" && account != "given" {
		one[*corev1.ServiceAccount](t, objects, account)
	}
	volumes := sets.New[string]()
	for _, volume := range spec.Volumes {
		volumes.Insert(volume.Name)
		if volume.ConfigMap != nil && volume.Name != "more" {
			one[*corev1.ConfigMap](t, objects, volume.ConfigMap.Name)
		}
		if volume.PersistentVolumeClaim != nil {
			one[*corev1.PersistentVolumeClaim](t, objects, volume.PersistentVolumeClaim.ClaimName)
		}
	}
	if name == "StatefulSet muster-etcd" {
		volumes.Insert("data")
	}
	mounts := sets.New[string]()
	for _, mount := range spec.Containers[0].VolumeMounts {
		mounts.Insert(mount.Name)
	}
	if diff := gocmp.Diff(sets.List(volumes), sets.List(mounts)); diff != "" {
		t.Errorf("%s (-volumes +mounts):\n%s", name, diff)
	}
	for _, argument := range spec.Containers[0].Args {
		_, path, found := strings.Cut(argument, "=/")
		if found && !slices.ContainsFunc(spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
			return strings.HasPrefix("/"+path, m.MountPath)
		}) {
			t.Errorf("%s: %s is on no volume", name, argument)
		}
	}
}

// The host prefers Muster's own groups over what may come, and v1beta1.
func TestAPIServices(t *testing.T) {
	registrations := all[*apiregistration.APIService](render(t, ""))
	want := map[string]int32{
		"v1beta1.lib.projectsveltos.io": 20, "v1alpha1.lib.projectsveltos.io": 10,
		"v1beta1.config.projectsveltos.io": 20, "v1alpha1.config.projectsveltos.io": 10,
	}
	got := map[string]int32{}
	for _, r := range registrations {
		got[r.Spec.Version+"."+r.Spec.Group] = r.Spec.VersionPriority
		if r.Name != r.Spec.Version+"."+r.Spec.Group || r.Spec.GroupPriorityMinimum != 2000 {
			t.Errorf("APIService %s: %+v", r.Name, r.Spec)
		}
		if s := r.Spec.Service; s == nil || s.Namespace != namespace || s.Name != "muster" || s.Port == nil || *s.Port != 443 {
			t.Errorf("APIService %s leads to %+v", r.Name, s)
		}
		if len(r.Spec.CABundle) > 0 || r.Spec.InsecureSkipTLSVerify {
			t.Errorf("APIService %s: the caBundle is Muster's to write", r.Name)
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

// Scaling up and down is one number, in one place.
func TestReplicasChangeNothingElse(t *testing.T) {
	single, several := render(t, ""), render(t, "replicaCount: 3")
	deployment := one[*appsv1.Deployment](t, several, "muster")
	if *deployment.Spec.Replicas != 3 {
		t.Errorf("%d replicas", *deployment.Spec.Replicas)
	}
	*deployment.Spec.Replicas = 1
	if diff := gocmp.Diff(single, several); diff != "" {
		t.Errorf("one and three replicas (-one +three):\n%s", diff)
	}
}

func TestTheDeploymentStaysAvailable(t *testing.T) {
	deployment := one[*appsv1.Deployment](t, render(t, ""), "muster")
	update := deployment.Spec.Strategy.RollingUpdate
	if update == nil || update.MaxUnavailable.IntValue() != 0 || update.MaxSurge.IntValue() != 1 {
		t.Errorf("rolling update %+v", update)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	readiness := container.ReadinessProbe
	if readiness.HTTPGet.Path != "/readyz" || readiness.PeriodSeconds*readiness.FailureThreshold > 2 {
		t.Errorf("readiness %+v", readiness)
	}
	for name, probe := range map[string]*corev1.Probe{"liveness": container.LivenessProbe, "startup": container.StartupProbe} {
		if probe.HTTPGet.Path != "/livez" {
			t.Errorf("%s asks for %s", name, probe.HTTPGet.Path)
		}
	}
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			t.Errorf("volume %s: the data is etcd's", volume.Name)
		}
	}
}

// In the node's network an old and a new replica would want one port.
func TestTheNodesNetwork(t *testing.T) {
	deployment := one[*appsv1.Deployment](t, render(t, "hostNetwork: true"), "muster")
	if update := deployment.Spec.Strategy.RollingUpdate; update.MaxUnavailable.IntValue() != 1 || update.MaxSurge.IntValue() != 0 {
		t.Errorf("rolling update %+v", update)
	}
}

// A Job that exists cannot be changed, so a change needs another name, and none
// the same.
func TestThePrepareJobsName(t *testing.T) {
	name := func(values string) string {
		t.Helper()
		for _, job := range all[*batchv1.Job](render(t, values)) {
			if strings.HasPrefix(job.Name, "muster-prepare-") {
				return job.Name
			}
		}
		return ""
	}
	if first, second := name(""), name("replicaCount: 3"); first == "" || first != second {
		t.Errorf("%q and %q, want one", first, second)
	}
	if first, second := name(""), name("image: {tag: v2}"); first == second {
		t.Errorf("%q for two images", first)
	}
	if got := name(valuesSets["somebody else's account and rights"]); got != "" {
		t.Errorf("%q with nothing to make", got)
	}
}

// Nothing but the hook knows that it is a part of the chart: Helm deletes it when
// it has succeeded.
func TestOnlyUninstallationHasHooks(t *testing.T) {
	for _, object := range render(t, everything) {
		hook := object.GetAnnotations()["helm.sh/hook"]
		if want := object.GetName() == "muster-uninstall"; want != (hook == "pre-delete") || !want && hook != "" {
			t.Errorf("%T %s: hook %q", object, object.GetName(), hook)
		}
	}
}

func TestThePlainYAMLIsTheCharts(t *testing.T) {
	fresh := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "hack", "render-deploy.sh"), fresh)
	cmd.Env = append(os.Environ(), "HELM="+filepath.Join(root(t), "bin", "helm"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kept := filepath.Join(root(t), "artifacts", "deploy")
	if diff := gocmp.Diff(readAll(t, fresh), readAll(t, kept)); diff != "" {
		t.Errorf("run hack/render-deploy.sh (-rendered +kept):\n%s", diff)
	}
	var manifests bytes.Buffer
	for _, data := range readAll(t, kept) {
		manifests.WriteString("---\n" + data)
	}
	want := slices.DeleteFunc(render(t, ""), func(o client.Object) bool { return o.GetAnnotations()["helm.sh/hook"] != "" })
	got := slices.DeleteFunc(decode(t, manifests.Bytes()), func(o client.Object) bool { _, is := o.(*corev1.Namespace); return is })
	key := func(o client.Object) string {
		return o.GetObjectKind().GroupVersionKind().String() + o.GetNamespace() + "/" + o.GetName()
	}
	order := func(a, b client.Object) int { return cmp.Compare(key(a), key(b)) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-chart +plain YAML):\n%s", diff)
	}
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = string(data)
	}
	return files
}
