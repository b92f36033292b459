// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var (
	ours       = Service{Namespace: "projectsveltos", Name: "muster"}
	testGroups = []string{"lib.projectsveltos.io", "config.projectsveltos.io"}
)

// registration makes an APIService; service is "namespace/name", empty for one
// that the host serves itself.
func registration(version, group, service string, labels map[string]string) *apiregistration.APIService {
	r := &apiregistration.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: version + "." + group, Labels: labels},
		Spec:       apiregistration.APIServiceSpec{Group: group, Version: version},
	}
	if namespace, name, ok := strings.Cut(service, "/"); ok {
		r.Spec.Service = &apiregistration.ServiceReference{Namespace: namespace, Name: name}
	}
	return r
}

func TestPreflight(t *testing.T) {
	automanaged := map[string]string{autoManagedLabel: "true"}
	tests := map[string]struct {
		registrations []*apiregistration.APIService
		want          *ForeignError
	}{
		"nothing registered": {},
		"ours": {registrations: []*apiregistration.APIService{
			registration("v1beta1", testGroups[0], "projectsveltos/muster", nil),
			registration("v1alpha1", testGroups[1], "projectsveltos/muster", nil),
		}},
		"another group is nobody's business": {registrations: []*apiregistration.APIService{
			registration("v1", "apps", "", automanaged),
			registration("v1beta1", "metrics.k8s.io", "kube-system/metrics-server", nil),
			registration("v1beta1", "extra.lib.projectsveltos.io", "x/y", nil),
		}},
		"Sveltos' CustomResourceDefinitions": {
			registrations: []*apiregistration.APIService{registration("v1beta1", testGroups[0], "", automanaged)},
			want:          &ForeignError{APIService: "v1beta1.lib.projectsveltos.io", Group: testGroups[0]},
		},
		"automanaged, though it has a Service": {
			registrations: []*apiregistration.APIService{registration("v1beta1", testGroups[0], "x/y", automanaged)},
			want:          &ForeignError{APIService: "v1beta1.lib.projectsveltos.io", Group: testGroups[0]},
		},
		"a version that we don't serve": {
			registrations: []*apiregistration.APIService{registration("v1", testGroups[1], "", automanaged)},
			want:          &ForeignError{APIService: "v1.config.projectsveltos.io", Group: testGroups[1]},
		},
		"local without the label": {
			registrations: []*apiregistration.APIService{registration("v1beta1", testGroups[0], "", nil)},
			want:          &ForeignError{APIService: "v1beta1.lib.projectsveltos.io", Group: testGroups[0]},
		},
		"somebody else's Service": {
			registrations: []*apiregistration.APIService{
				registration("v1beta1", testGroups[0], "projectsveltos/muster", nil),
				registration("v1beta1", testGroups[1], "other/muster", nil),
			},
			want: &ForeignError{APIService: "v1beta1.config.projectsveltos.io", Group: testGroups[1], Owner: "other/muster"},
		},
		"the first by name is reported": {
			registrations: []*apiregistration.APIService{
				registration("v1beta1", testGroups[1], "b/b", nil),
				registration("v1alpha1", testGroups[1], "a/a", nil),
			},
			want: &ForeignError{APIService: "v1alpha1.config.projectsveltos.io", Group: testGroups[1], Owner: "a/a"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := preflight(test.registrations, testGroups, ours)
			var got *ForeignError
			errors.As(err, &got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("preflight (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForeignErrorSaysWhatToDo(t *testing.T) {
	tests := map[string]struct {
		err  ForeignError
		want []string
	}{
		"definitions": {
			err:  ForeignError{APIService: "v1beta1.lib.projectsveltos.io", Group: testGroups[0]},
			want: []string{"lib.projectsveltos.io", "CustomResourceDefinitions", "delete"},
		},
		"a service": {
			err:  ForeignError{APIService: "v1beta1.lib.projectsveltos.io", Group: testGroups[0], Owner: "other/muster"},
			want: []string{"v1beta1.lib.projectsveltos.io", "other/muster", "--service-name"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, want := range test.want {
				if !strings.Contains(test.err.Error(), want) {
					t.Errorf("%q does not mention %q", test.err.Error(), want)
				}
			}
		})
	}
}

func TestShadowed(t *testing.T) {
	got := shadowed([]string{
		"sets.lib.projectsveltos.io",
		"clusters.cluster.x-k8s.io",
		"profiles.config.projectsveltos.io",
		"eventsources.lib.projectsveltos.io",
		"things.other.lib.projectsveltos.io",
		"projectsveltos.io",
	}, testGroups)
	want := []string{"eventsources.lib.projectsveltos.io", "profiles.config.projectsveltos.io", "sets.lib.projectsveltos.io"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shadowed (-want +got):\n%s", diff)
	}
}

func TestShadowCondition(t *testing.T) {
	raised := registration("v1beta1", testGroups[0], "projectsveltos/muster", nil)
	raised.Status.Conditions = []apiregistration.APIServiceCondition{{Type: ShadowsDefinitions, Status: apiregistration.ConditionTrue}}
	tests := map[string]struct {
		registration *apiregistration.APIService
		found        []string
		want         apiregistration.ConditionStatus
		mentions     string
	}{
		"never raised, nothing found": {registration: registration("v1beta1", testGroups[0], "projectsveltos/muster", nil)},
		"of another group": {
			registration: registration("v1beta1", testGroups[0], "projectsveltos/muster", nil),
			found:        []string{"profiles.config.projectsveltos.io"},
		},
		"found": {
			registration: registration("v1beta1", testGroups[0], "projectsveltos/muster", nil),
			found:        []string{"sets.lib.projectsveltos.io", "profiles.config.projectsveltos.io"},
			want:         apiregistration.ConditionTrue,
			mentions:     "sets.lib.projectsveltos.io: installed",
		},
		"many": {
			registration: registration("v1beta1", testGroups[0], "projectsveltos/muster", nil),
			found: []string{
				"a.lib.projectsveltos.io", "b.lib.projectsveltos.io", "c.lib.projectsveltos.io", "d.lib.projectsveltos.io",
				"e.lib.projectsveltos.io", "f.lib.projectsveltos.io", "g.lib.projectsveltos.io",
			},
			want:     apiregistration.ConditionTrue,
			mentions: "and 2 more",
		},
		"gone": {registration: raised, want: apiregistration.ConditionFalse},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := shadowCondition(test.registration, test.found, time.Now())
			switch {
			case got == nil && test.want != "":
				t.Fatalf("no condition, want %s", test.want)
			case got == nil:
				return
			case got.Status != test.want:
				t.Errorf("condition is %q, want %q", got.Status, test.want)
			}
			if !strings.Contains(got.Message, test.mentions) {
				t.Errorf("message %q does not mention %q", got.Message, test.mentions)
			}
		})
	}
}
