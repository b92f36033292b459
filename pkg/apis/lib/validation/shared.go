// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package validation says which objects of group lib.projectsveltos.io are valid,
// and has the rules that both groups share.
package validation

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/apis/unsupported"
)

const (
	// maxClusterRefs bounds a list of references, so that an object stays well below
	// what etcd takes.
	maxClusterRefs = 5000
	// groupClusterAPI is the group of Cluster API clusters.
	groupClusterAPI = "cluster.x-k8s.io"
)

// ValidateLabelledName is the rule for names that also become values of labels.
func ValidateLabelledName(name string, prefix bool) []string {
	problems := apivalidation.NameIsDNSSubdomain(name, prefix)
	if !prefix && len(name) > utilvalidation.LabelValueMaxLength {
		problems = append(problems, utilvalidation.MaxLenError(utilvalidation.LabelValueMaxLength))
	}
	return problems
}

// validateSwitch refuses an annotation that is neither on nor off.
func validateSwitch(meta *metav1.ObjectMeta, annotation string) field.ErrorList {
	value, exists := meta.Annotations[annotation]
	if !exists || value == "true" || value == "false" {
		return nil
	}
	path := field.NewPath("metadata", "annotations").Key(annotation)
	return field.ErrorList{field.NotSupported(path, value, []string{"true", "false"})}
}

// ValidateSelector refuses what is no selector, and operators and values that a
// selector cannot have.
func ValidateSelector(selector lib.Selector, path *field.Path) field.ErrorList {
	if err := selector.ParseError(); err != nil {
		return field.ErrorList{field.Invalid(path, selector.Raw, err.Error())}
	}
	return metav1validation.ValidateLabelSelector(&selector.LabelSelector, metav1validation.LabelSelectorValidationOptions{}, path)
}

// clusterRefTable is what is refused of a reference to a cluster.
var clusterRefTable = unsupported.Table[corev1.ObjectReference]{{
	Path:    "kind",
	Refused: []string{"Cluster." + groupClusterAPI},
	Reason:  "only a SveltosCluster can be referred to; register the cluster as one",
	Value: func(ref *corev1.ObjectReference) any {
		return ref.Kind + "." + groupOf(ref.APIVersion)
	},
}}

// ClusterRefRows documents what is refused of references to clusters.
func ClusterRefRows(kinds, prefix string) []unsupported.Row {
	return clusterRefTable.Rows(kinds, prefix)
}

// ValidateClusterRefs checks references to clusters. Those of an object in a
// namespace lead to clusters of that namespace, which is also their default.
func ValidateClusterRefs(refs []corev1.ObjectReference, namespace string, path *field.Path) field.ErrorList {
	if len(refs) > maxClusterRefs {
		return field.ErrorList{field.TooMany(path, len(refs), maxClusterRefs)}
	}
	var errs field.ErrorList
	for i := range refs {
		errs = append(errs, validateClusterRef(&refs[i], namespace, path.Index(i))...)
	}
	return errs
}

func validateClusterRef(ref *corev1.ObjectReference, namespace string, path *field.Path) field.ErrorList {
	errs := clusterRefTable.Validate(ref, path)
	if len(errs) == 0 {
		errs = validateClusterKind(ref, path)
	}
	if ref.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "the name of the cluster"))
	} else {
		errs = append(errs, Invalid(path.Child("name"), ref.Name, apivalidation.NameIsDNSSubdomain(ref.Name, false))...)
	}
	return append(errs, validateRefNamespace(ref.Namespace, namespace, path.Child("namespace"))...)
}

func validateClusterKind(ref *corev1.ObjectReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if ref.Kind != v1beta1.KindSveltosCluster {
		errs = append(errs, field.NotSupported(path.Child("kind"), ref.Kind, []string{v1beta1.KindSveltosCluster}))
	}
	if ref.APIVersion == "" {
		return append(errs, field.Required(path.Child("apiVersion"), "the group and version of the cluster, "+v1beta1.SchemeGroupVersion.String()))
	}
	if groupOf(ref.APIVersion) != lib.GroupName {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), ref.APIVersion, "has to be of group "+lib.GroupName))
	}
	return errs
}

func validateRefNamespace(namespace, own string, path *field.Path) field.ErrorList {
	switch {
	case namespace == "" && own == "":
		return field.ErrorList{field.Required(path, "the namespace of the cluster")}
	case namespace == "":
		return nil
	case own != "" && namespace != own:
		return field.ErrorList{field.Invalid(path, namespace, fmt.Sprintf("has to be %s, the namespace of this object", own))}
	default:
		return Invalid(path, namespace, apivalidation.ValidateNamespaceName(namespace, false))
	}
}

// ValidateConditions checks conditions, which are a map by their type.
func ValidateConditions(conditions []metav1.Condition, path *field.Path) field.ErrorList {
	return metav1validation.ValidateConditions(conditions, path)
}

// Invalid makes errors of what the rules for names return.
func Invalid(path *field.Path, value string, problems []string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range problems {
		errs = append(errs, field.Invalid(path, value, problem))
	}
	return errs
}

// LabelRefused is an entry of a table that refuses a label.
func LabelRefused(key, reason string) unsupported.Field[metav1.ObjectMeta] {
	return unsupported.Field[metav1.ObjectMeta]{
		Path: "labels", Key: key, Reason: reason,
		Value: func(meta *metav1.ObjectMeta) any { _, exists := meta.Labels[key]; return exists },
	}
}

// groupOf is the group in an apiVersion. An apiVersion that cannot be read has none.
func groupOf(apiVersion string) string {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return ""
	}
	return gv.Group
}

// AnnotationRefused is an entry of a table that refuses an annotation.
func AnnotationRefused(key, reason string) unsupported.Field[metav1.ObjectMeta] {
	return unsupported.Field[metav1.ObjectMeta]{
		Path: "annotations", Key: key, Reason: reason,
		Value: func(meta *metav1.ObjectMeta) any { _, exists := meta.Annotations[key]; return exists },
	}
}
