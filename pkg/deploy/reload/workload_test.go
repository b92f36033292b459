// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"encoding/json"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/dynamic/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/muster-project/muster/pkg/deploy/inventory"
)

var deploymentResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// site is a cluster that merges patches of Deployments as an API server does.
type site struct {
	*testing.T
	client  *fake.FakeDynamicClient
	patches int
}

func newSite(t *testing.T, objects ...runtime.Object) *site {
	t.Helper()
	s := &site{T: t, client: fake.NewSimpleDynamicClient(clientgoscheme.Scheme, objects...)}
	s.client.PrependReactor("patch", "deployments", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchAction)
		old, err := s.client.Tracker().Get(deploymentResource, patch.GetNamespace(), patch.GetName())
		if err != nil {
			return true, nil, err
		}
		before, err := json.Marshal(old)
		if err != nil {
			return true, nil, err
		}
		after, err := strategicpatch.StrategicMergePatch(before, patch.GetPatch(), appsv1.Deployment{})
		if err != nil {
			return true, nil, err
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(after); err != nil {
			return true, nil, err
		}
		s.patches++
		return true, object, s.client.Tracker().Update(deploymentResource, object, patch.GetNamespace())
	})
	return s
}

// reload looks at Deployment n/web, and returns the value of the variable in each of its
// containers.
func (s *site) reload() []string {
	s.Helper()
	if _, err := (hand{s.client}).reload(s.Context(), Workload{"Deployment", "n", "web"}); err != nil {
		s.Fatal(err)
	}
	object, err := s.client.Resource(deploymentResource).Namespace("n").Get(s.Context(), "web", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	pods, err := template(object)
	if err != nil {
		s.Fatal(err)
	}
	var values []string
	for _, container := range pods.Containers {
		value := ""
		for _, env := range container.Env {
			if env.Name == Variable {
				value = env.Value
			}
		}
		values = append(values, value)
	}
	return values
}

// write makes a ConfigMap what it should be.
func (s *site) write(name, value string) {
	s.Helper()
	content := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "n", "name": name}, "data": map[string]any{"a": value},
	}}
	configMaps := s.client.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace("n")
	_, err := configMaps.Update(s.Context(), content, metav1.UpdateOptions{})
	if err != nil {
		_, err = configMaps.Create(s.Context(), content, metav1.CreateOptions{})
	}
	if err != nil {
		s.Fatal(err)
	}
}

func web(configMap string) *appsv1.Deployment {
	from := func(name string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
	}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web"},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "a", EnvFrom: from(configMap), Env: []corev1.EnvVar{{Name: "MINE", Value: "1"}}}, {Name: "b"},
		}}}},
	}
}

func TestReload(t *testing.T) {
	s := newSite(t, web("settings"))
	want := func(what string, restarted bool, before []string) []string {
		t.Helper()
		after := s.reload()
		if changed := !slices.Equal(before, after); changed != restarted || after[0] != after[1] {
			t.Errorf("%s: from %q to %q, restarted want %t", what, before, after, restarted)
		}
		return after
	}
	none := []string{"", ""}
	want("what is seen for the first time", false, none)
	now := want("the same again", false, none)
	if s.patches != 1 {
		t.Errorf("%d patches, want one note of what was seen", s.patches)
	}
	s.write("settings", "1")
	now = want("what it uses appears", true, now)
	now = want("the same again", false, now)
	s.write("settings", "2")
	now = want("what it uses changes", true, now)
	s.write("other", "2")
	now = want("something else changes", false, now)
	s.write("settings", "2")
	want("it is written as it was", false, now)
	if s.patches != 3 {
		t.Errorf("%d patches, want 3", s.patches)
	}
	// Who uses something else has been changed, and restarts because of that.
	object, err := s.client.Resource(deploymentResource).Namespace("n").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deployment := web("other")
	deployment.Annotations = object.GetAnnotations()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(deployment)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Resource(deploymentResource).Namespace("n").Update(t.Context(), &unstructured.Unstructured{Object: content}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	want("it uses something else", false, none)
}

func TestWhatWorkloadsUse(t *testing.T) {
	pods := &corev1.PodSpec{}
	text := `{"volumes":[{"configMap":{"name":"a"}},{"secret":{"secretName":"b"}},{"emptyDir":{}},
		{"projected":{"sources":[{"configMap":{"name":"c"}},{"secret":{"name":"d"}},{"serviceAccountToken":{"path":"t"}}]}}],
		"initContainers":[{"envFrom":[{"secretRef":{"name":"e"}}]}],
		"containers":[{"envFrom":[{"configMapRef":{"name":"f"}}],"env":[{"name":"x","value":"y"},
		{"name":"g","valueFrom":{"configMapKeyRef":{"name":"g"}}},{"name":"h","valueFrom":{"secretKeyRef":{"name":"h"}}},{"name":"a","valueFrom":{"configMapKeyRef":{"name":"a"}}}]}]}`
	if err := json.Unmarshal([]byte(text), pods); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range usedBy("n", pods) {
		if u.namespace != "n" {
			t.Errorf("%+v is elsewhere", u)
		}
		got = append(got, u.kind[:1]+u.name)
	}
	if want := []string{"Ca", "Cc", "Cf", "Cg", "Sb", "Sd", "Se", "Sh"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWorkloadsOfReleases(t *testing.T) {
	of := func(name, release string) *appsv1.Deployment {
		d := web("settings")
		d.Name, d.Labels = name, map[string]string{"app.kubernetes.io/managed-by": "Helm"}
		d.Annotations = map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "n"}
		return d
	}
	s := newSite(t, of("a", "mine"), of("b", "other"), web("settings"))
	found, err := hand{s.client}.find(t.Context(), []Targets{
		{Workloads: []Workload{{"DaemonSet", "n", "c"}}, Releases: []inventory.ReleaseKey{{Namespace: "n", Name: "mine"}}},
		{Workloads: []Workload{{"DaemonSet", "n", "c"}}},
	})
	if err != nil || !slices.Equal(found, []Workload{{"DaemonSet", "n", "c"}, {"Deployment", "n", "a"}}) {
		t.Errorf("%v, %v", found, err)
	}
}

func TestTargetsOf(t *testing.T) {
	record := &inventory.Record{
		Objects: []inventory.Object{
			{ObjectKey: inventory.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: "n", Name: "a"}},
			{ObjectKey: inventory.ObjectKey{Group: "example.com", Kind: "Deployment", Namespace: "n", Name: "b"}},
			{ObjectKey: inventory.ObjectKey{Kind: "ConfigMap", Namespace: "n", Name: "c"}},
		},
		Releases: []inventory.Release{{ReleaseKey: inventory.ReleaseKey{Namespace: "m", Name: "r"}}},
	}
	targets := TargetsOf(record)
	if !slices.Equal(targets.Workloads, []Workload{{"Deployment", "n", "a"}}) || !slices.Equal(targets.namespaces(), []string{"n", "m"}) {
		t.Errorf("%+v", targets)
	}
	if !TargetsOf(nil).empty() {
		t.Error("nothing is not empty")
	}
}
