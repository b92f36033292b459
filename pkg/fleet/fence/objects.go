// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"fmt"
	"strconv"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// installationAnnotation says whose fence it is.
const installationAnnotation = "muster.projectsveltos.io/installation"

func newMeta(mark Mark) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: Name, Annotations: map[string]string{
		installationAnnotation: mark.Installation,
		ExtraKey:               strconv.FormatInt(mark.Epoch, 10),
	}}
}

// newPolicy denies writes with an epoch before mark's. Nothing is left to the
// API server's defaults, so that what it stores compares equal.
//
// The condition cannot fail, whoever asks: a policy that fails denies.
func newPolicy(mark Mark) *admissionv1.ValidatingAdmissionPolicy {
	field := "request.userInfo.extra['" + ExtraKey + "']"
	return &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: newMeta(mark),
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Fail),
			MatchConstraints: &admissionv1.MatchResources{
				MatchPolicy:       ptr.To(admissionv1.Equivalent),
				NamespaceSelector: &metav1.LabelSelector{},
				ObjectSelector:    &metav1.LabelSelector{},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.OperationAll},
					Rule: admissionv1.Rule{
						APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"},
						Scope: ptr.To(admissionv1.AllScopes),
					},
				}}},
			},
			MatchConditions: []admissionv1.MatchCondition{{
				Name:       "muster",
				Expression: "has(request.userInfo.extra) && '" + ExtraKey + "' in request.userInfo.extra",
			}},
			Validations: []admissionv1.Validation{{
				Expression: fmt.Sprintf("%[1]s.size() == 1 && %[1]s[0].matches('^[0-9]{1,18}$') && int(%[1]s[0]) >= %[2]d", field, mark.Epoch),
				Message:    fmt.Sprintf("the term of this leader of Muster is over: a later one, with epoch %d, has taken over", mark.Epoch),
			}},
		},
	}
}

func newBinding(mark Mark) *admissionv1.ValidatingAdmissionPolicyBinding {
	return &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: newMeta(mark),
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        Name,
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
}

func samePolicy(have, want *admissionv1.ValidatingAdmissionPolicy) bool {
	return sameMark(have, want) && apiequality.Semantic.DeepEqual(have.Spec, want.Spec)
}

func sameBinding(have, want *admissionv1.ValidatingAdmissionPolicyBinding) bool {
	return sameMark(have, want) && apiequality.Semantic.DeepEqual(have.Spec, want.Spec)
}

func sameMark(have, want metav1.Object) bool {
	return have.GetAnnotations()[ExtraKey] == want.GetAnnotations()[ExtraKey]
}
