// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostadmission

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// served is a host that serves some resources of admissionregistration.k8s.io.
type served struct {
	resources []string
	err       error
}

func (s served) ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error) {
	if groupVersion != "admissionregistration.k8s.io/v1" {
		return nil, errors.New("asked for " + groupVersion)
	}
	list := &metav1.APIResourceList{}
	for _, name := range s.resources {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: name})
	}
	return list, s.err
}

func TestUnserved(t *testing.T) {
	webhooks := []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}
	validating := append([]string{"validatingadmissionpolicies", "validatingadmissionpolicies/status", "validatingadmissionpolicybindings"}, webhooks...)
	all := append([]string{"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}, validating...)
	notFound := apierrors.NewNotFound(schema.GroupResource{}, "")
	tests := map[string]struct {
		host served
		want []string
	}{
		"Kubernetes 1.36":               {host: served{resources: all}},
		"Kubernetes 1.32":               {host: served{resources: validating}, want: []string{"MutatingAdmissionPolicy"}},
		"without bindings":              {host: served{resources: append([]string{"mutatingadmissionpolicies"}, validating...)}, want: []string{"MutatingAdmissionPolicy"}},
		"webhooks alone":                {host: served{resources: webhooks}, want: []string{"MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"}},
		"a host without admission":      {host: served{err: notFound}, want: []string{"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook"}},
		"a host with nothing in it yet": {host: served{}, want: []string{"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Unserved(test.host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("plugins (-want +got):\n%s", diff)
			}
		})
	}
}

// A host that cannot be asked may well have policies: they must not be passed by.
func TestAHostThatCannotBeAskedIsAnError(t *testing.T) {
	_, err := Unserved(served{err: apierrors.NewServiceUnavailable("starting")})
	if !apierrors.IsServiceUnavailable(err) {
		t.Errorf("error is %v", err)
	}
}
