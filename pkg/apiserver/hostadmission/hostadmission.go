// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostadmission finds out which of the host's admission policies we can
// enforce: the host's own ones apply to our kinds, if the host knows them.
package hostadmission

import (
	"fmt"
	"slices"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
)

// needs are the resources of the host, of group
// admissionregistration.k8s.io/v1, that each admission plugin watches. Without
// one of them a plugin is never ready, and every write waits for it and is
// then forbidden.
var needs = []struct {
	plugin    string
	resources []string
}{
	{mutatingpolicy.PluginName, []string{"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}},
	{mutatingwebhook.PluginName, []string{"mutatingwebhookconfigurations"}},
	{validatingpolicy.PluginName, []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"}},
	{validatingwebhook.PluginName, []string{"validatingwebhookconfigurations"}},
}

// Discovery tells what the host serves.
type Discovery interface {
	ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error)
}

// Unserved returns the admission plugins whose objects the host
// does not know: hosts from Kubernetes 1.32 on are supported, and some plugins
// are younger. There is nothing that they could enforce.
func Unserved(host Discovery) ([]string, error) {
	list, err := host.ServerResourcesForGroupVersion(admissionregistration.SchemeGroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ask the host which admission policies it has: %w", err)
	}
	served := map[string]bool{}
	if err == nil {
		for _, resource := range list.APIResources {
			served[resource.Name] = true
		}
	}
	var unserved []string
	for _, need := range needs {
		if slices.ContainsFunc(need.resources, func(resource string) bool { return !served[resource] }) {
			unserved = append(unserved, need.plugin)
		}
	}
	return unserved, nil
}
