// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func newCodecs(t *testing.T) (*runtime.Scheme, serializer.CodecFactory) {
	t.Helper()
	scheme := runtime.NewScheme()
	Install(scheme)
	return scheme, serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}

// decode reads a manifest as the server does: into the internal version, strictly.
func decode[T runtime.Object](t *testing.T, codecs serializer.CodecFactory, manifest []byte) T {
	t.Helper()
	obj, err := runtime.Decode(codecs.UniversalDecoder(), manifest)
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, manifest)
	}
	typed, ok := obj.(T)
	if !ok {
		t.Fatalf("decoded a %T", obj)
	}
	return typed
}

func encode(t *testing.T, codecs serializer.CodecFactory, obj runtime.Object, version schema.GroupVersion) []byte {
	t.Helper()
	data, err := runtime.Encode(codecs.LegacyCodec(version), obj)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return data
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVersionPriority(t *testing.T) {
	scheme, _ := newCodecs(t)
	want := []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion}
	if diff := cmp.Diff(want, scheme.PrioritizedVersionsForGroup(lib.GroupName)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

// A manifest of either version means the same, and reads at both versions as it was
// written.
func TestClusterSetMeansTheSameAtBothVersions(t *testing.T) {
	_, codecs := newCodecs(t)
	older := decode[*lib.ClusterSet](t, codecs, read(t, "clusterset-v1alpha1.yaml"))
	newer := decode[*lib.ClusterSet](t, codecs, read(t, "clusterset.yaml"))
	if diff := cmp.Diff(newer, older); diff != "" {
		t.Errorf("the two manifests differ (-v1beta1 +v1alpha1):\n%s", diff)
	}

	alpha, beta := &v1alpha1.ClusterSet{}, &v1beta1.ClusterSet{}
	mustDecodeInto(t, codecs, encode(t, codecs, newer, v1alpha1.SchemeGroupVersion), alpha)
	mustDecodeInto(t, codecs, encode(t, codecs, older, v1beta1.SchemeGroupVersion), beta)
	if alpha.Spec.ClusterSelector != "env=prod" || alpha.Spec.MaxReplicas != 1 {
		t.Errorf("at v1alpha1 the spec is %+v", alpha.Spec)
	}
	if want := (metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}); !cmp.Equal(beta.Spec.ClusterSelector, want) || beta.Spec.MaxReplicas != 1 {
		t.Errorf("at v1beta1 the spec is %+v", beta.Spec)
	}
}

// mustDecodeInto decodes without conversion.
func mustDecodeInto(t *testing.T, codecs serializer.CodecFactory, data []byte, into runtime.Object) {
	t.Helper()
	if _, _, err := codecs.UniversalDeserializer().Decode(data, nil, into); err != nil {
		t.Fatalf("decode: %v\n%s", err, data)
	}
}

// What goes v1alpha1, v1beta1, v1alpha1 comes back with the same meaning: a
// selector in canonical form, and one that is none as it is.
func TestSelectorSurvivesStorage(t *testing.T) {
	_, codecs := newCodecs(t)
	tests := map[string]struct{ written, read string }{
		"label":             {"env=prod", "env=prod"},
		"contradiction":     {"env=a,env=b", "env in (b),env=a"},
		"expressions alone": {"env in (b,a),!old", "!old,env in (a,b)"},
		"not equal":         {"env!=prod", "env notin (prod)"},
		"empty":             {"", ""},
		"none":              {"env in prod", "env in prod"},
		"no equivalent":     {"size>3", "size>3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set := &v1alpha1.Set{Spec: v1alpha1.ClusterSetSpec{ClusterSelector: tt.written}}
			alpha := encode(t, codecs, set, v1alpha1.SchemeGroupVersion)
			stored := encode(t, codecs, decode[*lib.Set](t, codecs, alpha), v1beta1.SchemeGroupVersion)
			back := &v1alpha1.Set{}
			mustDecodeInto(t, codecs, encode(t, codecs, decode[*lib.Set](t, codecs, stored), v1alpha1.SchemeGroupVersion), back)
			if back.Spec.ClusterSelector != tt.read {
				t.Errorf("%q came back as %q; stored as %s", tt.written, back.Spec.ClusterSelector, stored)
			}
		})
	}
}

func TestStatusRefsHaveTheVersionThatTheyAreReadAt(t *testing.T) {
	_, codecs := newCodecs(t)
	ref := func(version string) corev1.ObjectReference {
		return corev1.ObjectReference{APIVersion: lib.ClusterAPIVersion(version), Kind: "SveltosCluster", Namespace: "civo", Name: "cluster1"}
	}
	other := corev1.ObjectReference{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "Cluster", Namespace: "civo", Name: "cluster2"}
	stored := &v1beta1.ClusterSet{
		Spec: v1beta1.ClusterSetSpec{ClusterRefs: []corev1.ObjectReference{ref("v1beta1")}},
		Status: v1beta1.ClusterSetStatus{
			MatchingClusterRefs: []corev1.ObjectReference{ref("v1beta1"), other},
			SelectedClusterRefs: []corev1.ObjectReference{ref("v1beta1")},
		},
	}
	set := decode[*lib.ClusterSet](t, codecs, encode(t, codecs, stored, v1beta1.SchemeGroupVersion))
	before := set.DeepCopy()

	alpha := &v1alpha1.ClusterSet{}
	mustDecodeInto(t, codecs, encode(t, codecs, set, v1alpha1.SchemeGroupVersion), alpha)
	want := v1alpha1.ClusterSetStatus{
		MatchingClusterRefs: []corev1.ObjectReference{ref("v1alpha1"), other},
		SelectedClusterRefs: []corev1.ObjectReference{ref("v1alpha1")},
	}
	if diff := cmp.Diff(want, alpha.Status); diff != "" {
		t.Errorf("status at v1alpha1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]corev1.ObjectReference{ref("v1beta1")}, alpha.Spec.ClusterRefs); diff != "" {
		t.Errorf("a reference in the spec is not as the user wrote it:\n%s", diff)
	}
	if diff := cmp.Diff(before, set); diff != "" {
		t.Errorf("conversion changed what it converted from:\n%s", diff)
	}

	// A client that writes the status at v1alpha1 stores the same references.
	written := decode[*lib.ClusterSet](t, codecs, encode(t, codecs, alpha, v1alpha1.SchemeGroupVersion))
	if diff := cmp.Diff(set.Status, written.Status); diff != "" {
		t.Errorf("status written at v1alpha1 (-want +got):\n%s", diff)
	}
}

func TestSelectionHasTheVersionThatItIsReadAt(t *testing.T) {
	_, codecs := newCodecs(t)
	selection := &lib.Selection{
		Selected:   []lib.SelectedCluster{{APIVersion: lib.ClusterAPIVersion("v1beta1"), Kind: "SveltosCluster", Name: "a"}},
		Candidates: []lib.SelectionCandidate{{Ref: corev1.ObjectReference{APIVersion: lib.ClusterAPIVersion("v1beta1"), Kind: "SveltosCluster", Name: "a"}}},
	}
	alpha, beta := &v1alpha1.Selection{}, &v1beta1.Selection{}
	mustDecodeInto(t, codecs, encode(t, codecs, selection, v1alpha1.SchemeGroupVersion), alpha)
	mustDecodeInto(t, codecs, encode(t, codecs, selection, v1beta1.SchemeGroupVersion), beta)
	want := lib.ClusterAPIVersion("v1alpha1")
	if alpha.Selected[0].APIVersion != want || alpha.Candidates[0].Ref.APIVersion != want {
		t.Errorf("at v1alpha1: %+v", alpha)
	}
	want = lib.ClusterAPIVersion("v1beta1")
	if beta.Selected[0].APIVersion != want || beta.Candidates[0].Ref.APIVersion != want {
		t.Errorf("at v1beta1: %+v", beta)
	}
}

func TestDefaults(t *testing.T) {
	_, codecs := newCodecs(t)
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		t.Run(version, func(t *testing.T) {
			cluster := decode[*lib.SveltosCluster](t, codecs, []byte(`{"apiVersion":"lib.projectsveltos.io/`+version+`","kind":"SveltosCluster"}`))
			if cluster.Spec.ConsecutiveFailureThreshold != 3 {
				t.Errorf("consecutiveFailureThreshold = %d", cluster.Spec.ConsecutiveFailureThreshold)
			}
			if cluster.Spec.KubeconfigName != "" {
				t.Errorf("kubeconfigName = %q, although it depends on nothing but the name", cluster.Spec.KubeconfigName)
			}
			set := decode[*lib.Set](t, codecs, []byte(`{"apiVersion":"lib.projectsveltos.io/`+version+`","kind":"Set",
				"metadata":{"namespace":"civo"},"spec":{"clusterRefs":[{"name":"a"},{"name":"b","namespace":"other"}]}}`))
			if refs := set.Spec.ClusterRefs; refs[0].Namespace != "civo" || refs[1].Namespace != "other" {
				t.Errorf("clusterRefs = %+v", refs)
			}
		})
	}
}

func TestFieldLabels(t *testing.T) {
	scheme, _ := newCodecs(t)
	for _, version := range []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion} {
		for label, ok := range map[string]bool{"metadata.name": true, "metadata.namespace": true, "status.ready": true, "spec.paused": false} {
			got, value, err := scheme.ConvertFieldLabel(version.WithKind("SveltosCluster"), label, "true")
			if (err == nil) != ok || (ok && (got != label || value != "true")) {
				t.Errorf("%s %s = %q, %q, %v", version, label, got, value, err)
			}
		}
	}
}

// The parameters of a selection are decoded by the group's own codec; that of
// package metav1 does not know them.
func TestSelectionOptionsFromQuery(t *testing.T) {
	scheme, _ := newCodecs(t)
	codec := runtime.NewParameterCodec(scheme)
	query := url.Values{"limit": {"5"}, "continue": {"abc"}, "reason": {"Held"}, "resourceVersion": {"0"}}
	want := &lib.SelectionOptions{Limit: 5, Continue: "abc", Reason: "Held", ResourceVersion: "0"}
	for _, version := range []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion} {
		got := &lib.SelectionOptions{}
		if err := codec.DecodeParameters(query, version, got); err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version, diff)
		}
		encoded, err := codec.EncodeParameters(&v1beta1.SelectionOptions{Limit: 5, Continue: "abc", Reason: "Held", ResourceVersion: "0"}, v1beta1.SchemeGroupVersion)
		if err != nil || !cmp.Equal(query, encoded) {
			t.Errorf("%s: encoded %v, %v", version, encoded, err)
		}
	}
	if err := codec.DecodeParameters(url.Values{"limit": {"many"}}, v1beta1.SchemeGroupVersion, &lib.SelectionOptions{}); err == nil {
		t.Error("a limit that is no number was accepted")
	}
}
