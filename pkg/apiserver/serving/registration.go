// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// autoManagedLabel marks an APIService that the host keeps itself, for a group
// that it serves from CustomResourceDefinitions. The host would revert any
// change of it.
const autoManagedLabel = "kube-aggregator.kubernetes.io/automanaged"

// Service names the host's Service through which the aggregator reaches us.
type Service struct {
	Namespace string
	Name      string
}

// String returns "namespace/name".
func (s Service) String() string {
	return s.Namespace + "/" + s.Name
}

// owns reports whether an APIService leads to this Service. One that does not
// is never written by us, whatever its group.
func (s Service) owns(a *apiregistration.APIService) bool {
	return a.Spec.Service != nil && a.Spec.Service.Namespace == s.Namespace && a.Spec.Service.Name == s.Name
}

// ForeignError says that something else on the host serves one of our groups.
// Starting all the same would leave two sets of fleet objects, of which users
// see one and controllers another.
type ForeignError struct {
	// APIService is the name of the registration that is not ours.
	APIService string
	// Group is the API group that it serves.
	Group string
	// Owner is the Service "namespace/name" that it leads to, and empty where
	// the host itself serves the group.
	Owner string
}

// Error says in one sentence what is wrong and what to do.
func (e *ForeignError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("the host serves API group %s itself (APIService %s is managed by it), because CustomResourceDefinitions of that group are installed, Sveltos' own ones most likely: "+
			"export their objects, delete the CustomResourceDefinitions, and start Muster again", e.Group, e.APIService)
	}
	return fmt.Sprintf("APIService %s leads to Service %s, which is not Muster's: "+
		"delete that APIService and what it belongs to, or tell Muster with --namespace and --service-name that the Service is its own", e.APIService, e.Owner)
}

// preflight returns a *ForeignError for the first APIService of groups which
// is neither absent nor ours.
func preflight(registrations []*apiregistration.APIService, groups []string, own Service) error {
	registrations = slices.Clone(registrations)
	slices.SortFunc(registrations, func(a, b *apiregistration.APIService) int { return cmp.Compare(a.Name, b.Name) })
	for _, r := range registrations {
		if !slices.Contains(groups, r.Spec.Group) || own.owns(r) {
			continue
		}
		foreign := &ForeignError{APIService: r.Name, Group: r.Spec.Group}
		if _, managed := r.Labels[autoManagedLabel]; !managed && r.Spec.Service != nil {
			foreign.Owner = Service{Namespace: r.Spec.Service.Namespace, Name: r.Spec.Service.Name}.String()
		}
		return foreign
	}
	return nil
}

// shadowed returns those CustomResourceDefinitions, by name, that belong to
// one of groups. Their objects cannot be reached while our APIServices stand.
func shadowed(definitions, groups []string) []string {
	var found []string
	for _, name := range definitions {
		// A CustomResourceDefinition is named plural.group, by validation.
		if _, group, ok := strings.Cut(name, "."); ok && slices.Contains(groups, group) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}
