// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// expect compares errors by their type, their path, and a part of their text.
func expect(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	if len(errs) != len(want) {
		t.Errorf("%d errors, want %d:\n%v", len(errs), len(want), errs)
		return
	}
	for i, err := range errs {
		path, text, _ := strings.Cut(want[i], ": ")
		if err.Field != path || !strings.Contains(err.ErrorBody(), text) {
			t.Errorf("error %d is\n%v, want\n%s", i, err, want[i])
		}
	}
}

func cluster(namespace, name string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "lib.projectsveltos.io/v1beta1", Kind: "SveltosCluster", Namespace: namespace, Name: name}
}

func TestValidateSelector(t *testing.T) {
	tests := map[string]struct {
		selector lib.Selector
		want     []string
	}{
		"empty":       {lib.Selector{}, nil},
		"valid":       {lib.ParseSelector("env=prod,!old,tier in (a,b)"), nil},
		"unparsed":    {lib.ParseSelector("env in prod"), []string{`spec.clusterSelector: Invalid value: "env in prod": not a label selector`}},
		"no operator": {lib.ParseSelector("size>3"), []string{`spec.clusterSelector: operator "gt" of "size>3" is not supported`}},
		"operator": {
			lib.Selector{LabelSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like"}}}},
			[]string{`spec.clusterSelector.matchExpressions[0].operator: Invalid value: "Like"`},
		},
		"no values": {
			lib.Selector{LabelSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "In"}}}},
			[]string{"spec.clusterSelector.matchExpressions[0].values: Required value"},
		},
		"value": {
			lib.Selector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "not a value"}}},
			[]string{"spec.clusterSelector.matchLabels: Invalid value"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			expect(t, ValidateSelector(tt.selector, field.NewPath("spec", "clusterSelector")), tt.want...)
		})
	}
}

func TestValidateClusterRefs(t *testing.T) {
	edit := func(change func(*corev1.ObjectReference)) corev1.ObjectReference {
		ref := cluster("civo", "cluster1")
		change(&ref)
		return ref
	}
	tests := map[string]struct {
		ref       corev1.ObjectReference
		namespace string
		want      []string
	}{
		"complete":                 {ref: cluster("civo", "cluster1")},
		"older version":            {ref: edit(func(r *corev1.ObjectReference) { r.APIVersion = "lib.projectsveltos.io/v1alpha1" })},
		"own namespace":            {ref: cluster("civo", "cluster1"), namespace: "civo"},
		"own namespace by default": {ref: cluster("", "cluster1"), namespace: "civo"},
		"other namespace": {
			ref: cluster("other", "cluster1"), namespace: "civo",
			want: []string{`refs[0].namespace: Invalid value: "other": has to be civo`},
		},
		"no namespace":  {ref: cluster("", "cluster1"), want: []string{"refs[0].namespace: Required value"}},
		"bad namespace": {ref: cluster("Civo", "cluster1"), want: []string{"refs[0].namespace: a lowercase RFC 1123 label"}},
		"no name":       {ref: cluster("civo", ""), want: []string{"refs[0].name: Required value"}},
		"bad name":      {ref: cluster("civo", "a/b"), want: []string{"refs[0].name: a lowercase RFC 1123 subdomain"}},
		"Cluster API": {
			ref:  corev1.ObjectReference{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "Cluster", Namespace: "civo", Name: "a"},
			want: []string{`refs[0].kind: Forbidden: "Cluster.cluster.x-k8s.io" is not supported yet`},
		},
		"other kind": {
			ref:  edit(func(r *corev1.ObjectReference) { r.Kind = "ClusterSet" }),
			want: []string{`refs[0].kind: Unsupported value: "ClusterSet": supported values: "SveltosCluster"`},
		},
		"other group": {
			ref:  edit(func(r *corev1.ObjectReference) { r.APIVersion = "v1" }),
			want: []string{"refs[0].apiVersion: has to be of group lib.projectsveltos.io"},
		},
		"bad apiVersion": {
			ref:  edit(func(r *corev1.ObjectReference) { r.APIVersion = "lib.projectsveltos.io/v1/x" }),
			want: []string{"refs[0].apiVersion: Invalid value"},
		},
		"empty": {want: []string{
			"refs[0].kind: Unsupported value", "refs[0].apiVersion: Required value", "refs[0].name: Required value", "refs[0].namespace: Required value",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			expect(t, ValidateClusterRefs([]corev1.ObjectReference{tt.ref}, tt.namespace, field.NewPath("refs")), tt.want...)
		})
	}
	t.Run("too many", func(t *testing.T) {
		expect(t, ValidateClusterRefs(make([]corev1.ObjectReference, maxClusterRefs+1), "", field.NewPath("refs")), "refs: Too many")
	})
}

func TestValidateLabelledName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, ok := range map[string]bool{"prod": true, "prod.eu": true, long: true, long + "a": false, "Prod": false, "a_b": false} {
		if problems := ValidateLabelledName(name, false); (len(problems) == 0) != ok {
			t.Errorf("ValidateLabelledName(%q) = %v", name, problems)
		}
	}
	if problems := ValidateLabelledName(long+"-", true); len(problems) > 0 {
		t.Errorf("a prefix: %v", problems)
	}
}

func TestRatchet(t *testing.T) {
	path := field.NewPath("spec", "list")
	bad := func(i int, value string) *field.Error {
		return field.Invalid(path.Index(i).Child("x"), value, "is bad")
	}
	tests := map[string]struct{ errs, stored, want field.ErrorList }{
		"nothing":           {},
		"fresh":             {errs: field.ErrorList{bad(0, "a")}, want: field.ErrorList{bad(0, "a")}},
		"stored":            {errs: field.ErrorList{bad(0, "a")}, stored: field.ErrorList{bad(0, "a")}},
		"repaired":          {stored: field.ErrorList{bad(0, "a")}},
		"moved in its list": {errs: field.ErrorList{bad(0, "b")}, stored: field.ErrorList{bad(0, "a"), bad(1, "b")}},
		"other value":       {errs: field.ErrorList{bad(0, "b")}, stored: field.ErrorList{bad(0, "a")}, want: field.ErrorList{bad(0, "b")}},
		"once more":         {errs: field.ErrorList{bad(0, "a"), bad(1, "a")}, stored: field.ErrorList{bad(0, "a")}, want: field.ErrorList{bad(1, "a")}},
		"other field": {
			errs:   field.ErrorList{field.Invalid(path.Child("y"), "a", "is bad")},
			stored: field.ErrorList{field.Invalid(path.Child("z"), "a", "is bad")},
			want:   field.ErrorList{field.Invalid(path.Child("y"), "a", "is bad")},
		},
		"other reason": {
			errs:   field.ErrorList{field.Invalid(path, "a", "is bad")},
			stored: field.ErrorList{field.Invalid(path, "a", "is worse")},
			want:   field.ErrorList{field.Invalid(path, "a", "is bad")},
		},
		"values that cannot be compared with ==": {
			errs:   field.ErrorList{{Type: field.ErrorTypeForbidden, Field: "spec.x", BadValue: []string{"a"}}},
			stored: field.ErrorList{{Type: field.ErrorTypeForbidden, Field: "spec.x", BadValue: []string{"a"}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Ratchet(tt.errs, tt.stored)); diff != "" {
				t.Errorf("Ratchet (-want +got):\n%s", diff)
			}
		})
	}
}
