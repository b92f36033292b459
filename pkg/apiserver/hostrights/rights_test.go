// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostrights

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestEveryShippedRuleIsExamined keeps the list of rights in step with the
// manifests.
func TestEveryShippedRuleIsExamined(t *testing.T) {
	raw, err := os.ReadFile("../../../artifacts/deploy/20-rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	examined := map[string]bool{}
	for _, r := range All() {
		for _, a := range r.Attributes("") {
			examined[a.Verb+" "+a.Group+" "+a.Resource+"/"+a.Subresource] = true
		}
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		var role rbacv1.ClusterRole // of a Role, too, what counts here
		if err := decoder.Decode(&role); err != nil {
			break
		}
		if !strings.HasSuffix(role.Kind, "Role") {
			continue
		}
		for _, shipped := range role.Rules {
			for _, a := range (Right{PolicyRule: shipped}).Attributes("") {
				if !examined[a.Verb+" "+a.Group+" "+a.Resource+"/"+a.Subresource] {
					t.Errorf("the shipped rule to %s is not examined", Describe(a))
				}
			}
		}
	}
}

// check asks a host that allows what allowed says.
func check(ctx context.Context, allowed func(*authorizationv1.ResourceAttributes) (bool, error), sources ...string) error {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		var err error
		review.Status.Allowed, err = allowed(review.Spec.ResourceAttributes)
		return true, review, err
	})
	return Check(ctx, client.AuthorizationV1(), "projectsveltos", sources)
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	everything := func(*authorizationv1.ResourceAttributes) (bool, error) { return true, nil }
	if err := check(t.Context(), everything); err != nil {
		t.Error(err)
	}
	but := func(group, resource, verb string) func(*authorizationv1.ResourceAttributes) (bool, error) {
		return func(a *authorizationv1.ResourceAttributes) (bool, error) {
			return a.Group != group || a.Resource != resource || verb != "" && a.Verb != verb, nil
		}
	}
	for name, test := range map[string]struct {
		allowed func(*authorizationv1.ResourceAttributes) (bool, error)
		want    string
	}{
		"a resource": {but("admissionregistration.k8s.io", "mutatingadmissionpolicies", ""),
			"it may not get/list/watch mutatingadmissionpolicies of admissionregistration.k8s.io (without it every write is answered with 403)"},
		"a verb": {but("coordination.k8s.io", "leases", "update"),
			"it may not update leases of coordination.k8s.io in namespace projectsveltos (without it nobody leads)"},
		"both of a rule": {but("apiregistration.k8s.io", "apiservices", "patch"),
			"it may not patch apiservices of apiregistration.k8s.io named v1beta1.lib.projectsveltos.io, patch apiservices of"},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(t.Context(), test.allowed)
			var missing *MissingError
			if !errors.As(err, &missing) || len(missing.Rules) != 1 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	var missing *MissingError
	nothing := func(*authorizationv1.ResourceAttributes) (bool, error) { return false, nil }
	if err := check(t.Context(), nothing); !errors.As(err, &missing) || len(missing.Rules) != len(All()) {
		t.Errorf("error %v, want one with %d rules", err, len(All()))
	}
}

// Rights to read some namespaces are enough for a server that reads no others.
func TestCheckAsksWhereTheServerReads(t *testing.T) {
	near := func(a *authorizationv1.ResourceAttributes) (bool, error) {
		return a.Resource != "secrets" || a.Verb != "list" || a.Namespace == "near" || a.Namespace == "projectsveltos", nil
	}
	if err := check(t.Context(), near, "near", "projectsveltos"); err != nil {
		t.Error(err)
	}
	for _, sources := range [][]string{nil, {"near", "far"}} {
		if err := check(t.Context(), near, sources...); err == nil {
			t.Errorf("a server that reads %q starts", sources)
		}
	}
}

func TestCheckOfAHostThatDoesNotAnswer(t *testing.T) {
	answer := func(err error) func(*authorizationv1.ResourceAttributes) (bool, error) {
		return func(*authorizationv1.ResourceAttributes) (bool, error) { return false, err }
	}
	down := errors.New("connection refused")
	if err := check(t.Context(), answer(down)); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
	reviews := schema.GroupResource{Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"}
	if err := check(t.Context(), answer(apierrors.NewForbidden(reviews, "", nil))); err != nil {
		t.Errorf("a host that is not to be asked stops the server: %v", err)
	}
}
