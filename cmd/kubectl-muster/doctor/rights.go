// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/storage/identity"
)

// scope is where a right is needed.
type scope int

const (
	everywhere scope = iota
	// own is the installation's namespace.
	own
	// sources are the namespaces that the server was told to read, or all.
	sources
)

// right is a rule that the server needs on the host. A test compares them with
// the ones that are shipped.
type right struct {
	rbacv1.PolicyRule
	in scope
	// without says what does not work where it is missing.
	without string
}

func rule(group string, resources, verbs []string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs, ResourceNames: names}
}

// rights are all that the server needs.
func rights() []right {
	read, write := []string{"get", "list", "watch"}, []string{"create", "patch"}
	return []right{
		{rule("", []string{"namespaces"}, read), everywhere, "every write is refused"},
		{rule("admissionregistration.k8s.io", []string{
			"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
		}, read), everywhere, "every write is answered with 403"},
		{rule("flowcontrol.apiserver.k8s.io", []string{"flowschemas", "prioritylevelconfigurations"}, read), everywhere, "the server does not become ready"},
		{rule("apiregistration.k8s.io", []string{"apiservices"}, read), everywhere, "the server does not start"},
		{rule("apiregistration.k8s.io", []string{"apiservices", "apiservices/status"}, []string{"update", "patch"}, registrationNames()...), everywhere, "the host does not trust the server's certificate"},
		{rule("apiextensions.k8s.io", []string{"customresourcedefinitions"}, read), everywhere, "nobody is warned of CustomResourceDefinitions of the same groups"},
		{rule("", []string{"configmaps", "secrets"}, read), sources, "neither kubeconfigs nor what profiles name can be read"},
		{rule("", []string{"events"}, write), everywhere, "no events are recorded"},
		{rule("events.k8s.io", []string{"events"}, write), everywhere, "no events are recorded"},
		{rule("authentication.k8s.io", []string{"tokenreviews"}, []string{"create"}), everywhere, "callers are not known"},
		{rule("authorization.k8s.io", []string{"subjectaccessreviews"}, []string{"create"}), everywhere, "callers are not authorized"},
		{rule("", []string{"configmaps", "secrets"}, []string{"create"}), own, "neither the certificate nor the record of the storage can be kept"},
		{rule("", []string{"secrets"}, []string{"update"}, servingSecret), own, "the certificate is not renewed"},
		{rule("", []string{"configmaps"}, []string{"update"}, identity.ConfigMapName), own, "the storage cannot be told from another"},
		{rule("coordination.k8s.io", []string{"leases"}, []string{"get", "create", "update"}), own, "nobody leads"},
		{rule("coordination.k8s.io", []string{"leases"}, []string{"watch"}), own, "a leader that ends is replaced a second later than it could be"},
	}
}

// attributes are all questions that a right in a namespace is made of.
func (r right) attributes(namespace string) []authorizationv1.ResourceAttributes {
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var all []authorizationv1.ResourceAttributes
	for _, resource := range r.Resources {
		plain, subresource, _ := strings.Cut(resource, "/")
		for _, verb := range r.Verbs {
			for _, name := range names {
				all = append(all, authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: r.APIGroups[0], Resource: plain, Subresource: subresource, Name: name,
				})
			}
		}
	}
	return all
}

// rights checks, one by one, what the server's ServiceAccount may do.
func (d *Doctor) rights(ctx context.Context) []Finding {
	const check = "rights"
	deployments, err := d.deployments(ctx)
	if err != nil {
		return unknown(check, "the Deployment of Muster", err)
	}
	account, read := serviceAccount(deployments), sourceNamespaces(deployments)
	var findings []Finding
	for _, r := range rights() {
		for _, attributes := range d.questions(r, read) {
			allowed, err := d.allowed(ctx, account, attributes)
			if err != nil {
				return unknown(check, "what ServiceAccount "+account+" may do", err)
			}
			if !allowed {
				findings = append(findings, problem(check, fmt.Sprintf("ServiceAccount %s/%s may not %s: %s", d.Namespace, account, describe(attributes), r.without),
					"grant it as the chart does, or artifacts/deploy/20-rbac.yaml"))
			}
		}
	}
	if len(findings) == 0 {
		return fine(check, "ServiceAccount %s/%s may do all that is needed", d.Namespace, account)
	}
	return findings
}

// questions are those that a right is made of, where it is needed. read are the
// namespaces that the server was told to read.
func (d *Doctor) questions(r right, read []string) []authorizationv1.ResourceAttributes {
	namespaces := []string{metav1.NamespaceAll}
	switch {
	case r.in == own:
		namespaces = []string{d.Namespace}
	case r.in == sources && len(read) > 0:
		namespaces = append([]string{d.Namespace}, read...)
	}
	var all []authorizationv1.ResourceAttributes
	for _, namespace := range namespaces {
		all = append(all, r.attributes(namespace)...)
	}
	return all
}

func serviceAccount(deployments []appsv1.Deployment) string {
	for i := range deployments {
		if name := deployments[i].Spec.Template.Spec.ServiceAccountName; name != "" {
			return name
		}
	}
	return "muster"
}

// sourceNamespaces are those of the server's flag; none means all.
func sourceNamespaces(deployments []appsv1.Deployment) []string {
	var namespaces []string
	for i := range deployments {
		for _, container := range deployments[i].Spec.Template.Spec.Containers {
			for _, argument := range container.Args {
				if list, ok := strings.CutPrefix(argument, "--source-namespaces="); ok {
					namespaces = append(namespaces, strings.Split(list, ",")...)
				}
			}
		}
	}
	return namespaces
}

func (d *Doctor) allowed(ctx context.Context, account string, attributes authorizationv1.ResourceAttributes) (bool, error) {
	review, err := d.Host.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + d.Namespace + ":" + account,
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + d.Namespace, "system:authenticated"},
			ResourceAttributes: &attributes,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// describe says what is asked for, as in "update apiservices/status of apiregistration.k8s.io".
func describe(a authorizationv1.ResourceAttributes) string {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	if a.Group != "" {
		resource += " of " + a.Group
	}
	if a.Name != "" {
		resource += " named " + a.Name
	}
	if a.Namespace != "" {
		resource += " in namespace " + a.Namespace
	}
	return a.Verb + " " + resource
}
