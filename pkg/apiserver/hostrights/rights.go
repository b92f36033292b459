// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostrights knows what the server needs to be allowed on the host
// cluster: each rule, where it is needed, and what does not work without it. The
// server asks for itself before it starts, "kubectl muster doctor" for whoever
// installed it.
package hostrights

import (
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/storage/identity"
)

// ServingSecret is the Secret, in the installation's namespace, with the serving
// certificate.
const ServingSecret = "muster-serving-cert"

// Where says in which namespaces a right is needed.
type Where int

const (
	// Everywhere is for cluster-scoped resources, and for all namespaces.
	Everywhere Where = iota
	// Own is the installation's namespace.
	Own
	// Sources are the namespaces that the server was told to read, or all.
	Sources
	// System is the namespace that the host keeps its own records in.
	System
)

// Right is a rule that the server needs on the host. A test compares them with
// the ones that are shipped.
type Right struct {
	rbacv1.PolicyRule
	In Where
	// Without says what does not work where it is missing.
	Without string
}

func rule(group string, resources, verbs []string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs, ResourceNames: names}
}

// RegistrationNames are the names of Muster's APIServices.
func RegistrationNames() []string {
	var names []string
	for _, group := range []string{lib.GroupName, config.GroupName} {
		for _, version := range []string{"v1beta1", "v1alpha1"} {
			names = append(names, version+"."+group)
		}
	}
	return names
}

// All are all that the server needs.
func All() []Right {
	read, write := []string{"get", "list", "watch"}, []string{"create", "patch"}
	return []Right{
		{rule("", []string{"namespaces"}, read), Everywhere, "every write is refused"},
		{rule("admissionregistration.k8s.io", []string{
			"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
		}, read), Everywhere, "every write is answered with 403"},
		{rule("flowcontrol.apiserver.k8s.io", []string{"flowschemas", "prioritylevelconfigurations"}, read), Everywhere, "the server does not become ready"},
		{rule("apiregistration.k8s.io", []string{"apiservices"}, read), Everywhere, "the server does not start"},
		{rule("apiregistration.k8s.io", []string{"apiservices", "apiservices/status"}, []string{"update", "patch"}, RegistrationNames()...), Everywhere, "the host does not trust the server's certificate"},
		{rule("apiextensions.k8s.io", []string{"customresourcedefinitions"}, read), Everywhere, "nobody is warned of CustomResourceDefinitions of the same groups"},
		{rule("", []string{"configmaps", "secrets"}, read), Sources, "neither kubeconfigs nor what profiles name can be read"},
		{rule("source.toolkit.fluxcd.io", []string{"gitrepositories", "ocirepositories", "buckets"}, read), Sources, "Flux's sources that profiles name cannot be read"},
		{rule("", []string{"events"}, write), Everywhere, "no events are recorded"},
		{rule("events.k8s.io", []string{"events"}, write), Everywhere, "no events are recorded"},
		{rule("authentication.k8s.io", []string{"tokenreviews"}, []string{"create"}), Everywhere, "callers are not known"},
		{rule("authorization.k8s.io", []string{"subjectaccessreviews"}, []string{"create"}), Everywhere, "callers are not authorized"},
		{rule("", []string{"configmaps"}, read, "extension-apiserver-authentication"), System, "the host's aggregator is not recognised"},
		{rule("", []string{"configmaps", "secrets"}, []string{"create"}), Own, "neither the certificate nor the record of the storage can be kept"},
		{rule("", []string{"secrets"}, []string{"update"}, ServingSecret), Own, "the certificate is not renewed"},
		{rule("", []string{"configmaps"}, []string{"update"}, identity.ConfigMapName), Own, "the storage cannot be told from another"},
		{rule("coordination.k8s.io", []string{"leases"}, []string{"get", "create", "update"}), Own, "nobody leads"},
		{rule("coordination.k8s.io", []string{"leases"}, []string{"watch"}), Own, "a leader that ends is replaced a second later than it could be"},
	}
}

// Questions are all that a right is made of, where it is needed by a server in
// the namespace own that reads the namespaces sources; none means all.
func (r Right) Questions(own string, sources []string) []authorizationv1.ResourceAttributes {
	namespaces := []string{metav1.NamespaceAll}
	switch {
	case r.In == Own:
		namespaces = []string{own}
	case r.In == System:
		namespaces = []string{metav1.NamespaceSystem}
	case r.In == Sources && len(sources) > 0:
		namespaces = sources
	}
	var all []authorizationv1.ResourceAttributes
	for _, namespace := range namespaces {
		all = append(all, r.Attributes(namespace)...)
	}
	return all
}

// Attributes are all questions that a right in one namespace is made of.
func (r Right) Attributes(namespace string) []authorizationv1.ResourceAttributes {
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var all []authorizationv1.ResourceAttributes
	for _, resource := range r.Resources {
		plain, subresource, _ := strings.Cut(resource, "/")
		for _, name := range names {
			for _, verb := range r.Verbs {
				all = append(all, authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: r.APIGroups[0], Resource: plain, Subresource: subresource, Name: name,
				})
			}
		}
	}
	return all
}

// Describe says what is asked for, as in "update apiservices/status of
// apiregistration.k8s.io".
func Describe(a authorizationv1.ResourceAttributes) string {
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
