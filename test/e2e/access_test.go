// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-project/muster/test/fleet"
)

// as is kubectl of a user with no rights but those that the scope gives.
func (s *scope) as(user string) *fleet.Kubectl {
	s.Helper()
	kubectl, err := s.fleet.Host.KubectlAs(fleet.User{Name: user})
	if err != nil {
		s.Fatal(err)
	}
	return kubectl
}

// forbidden runs kubectl as somebody who must not do it.
func (s *scope) forbidden(kubectl *fleet.Kubectl, args ...string) {
	s.Helper()
	result, err := kubectl.Run(s.Context(), args...)
	if err == nil {
		s.Errorf("kubectl %s was allowed:\n%s", strings.Join(args, " "), result.Stdout)
		return
	}
	if !strings.Contains(result.Stderr, "forbidden") {
		s.Errorf("kubectl %s failed for another reason: %s", strings.Join(args, " "), result.Stderr)
	}
}

// TestSelectionHasARightOfItsOwn: whoever may read the selection of a set may
// not for that reason read the set, and the other way round.
func TestSelectionHasARightOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.apply(s.setManifest(1))
	for name, resource := range map[string]string{"selection": "clustersets/selection", "set": "clustersets"} {
		s.apply(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: %[1]s-%[2]s
rules:
- apiGroups: [lib.projectsveltos.io]
  resources: [%[3]s]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: %[1]s-%[2]s
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s-%[2]s}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: %[2]s-reader-%[1]s}
`, s.name, name, resource))
	}
	selection, set, nobody := s.as("selection-reader-"+s.name), s.as("set-reader-"+s.name), s.as("nobody-"+s.name)

	allowed := func(kubectl *fleet.Kubectl, args ...string) {
		t.Helper()
		s.eventually("the rights are known", soon, func(ctx context.Context) error {
			_, err := kubectl.Run(ctx, args...)
			return err
		})
	}
	path := "/apis/lib.projectsveltos.io/v1beta1/clustersets/" + s.name
	allowed(selection, "get", "--raw", path+"/selection")
	allowed(set, "get", "clusterset", s.name)
	s.forbidden(selection, "get", "clusterset", s.name)
	s.forbidden(selection, "get", "clustersets")
	s.forbidden(selection, "patch", "clusterset", s.name, "--type=merge", "-p", `{"spec":{"maxReplicas":2}}`)
	s.forbidden(set, "get", "--raw", path+"/selection")
	s.forbidden(set, "delete", "clusterset", s.name)
	for _, resource := range []string{"clustersets", "sveltosclusters", "clusterprofiles", "clustersummaries", "addons.config.projectsveltos.io"} {
		s.forbidden(nobody, "get", resource, "-A")
	}
	s.forbidden(nobody, "get", "--raw", path+"/selection")
}

// TestHostPoliciesApply: an administrator's ValidatingAdmissionPolicy is obeyed
// by our kinds with nothing else to configure.
func TestHostPoliciesApply(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.apply(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: %[1]s
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: [lib.projectsveltos.io]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE]
      resources: [clustersets]
  matchConditions:
  - name: ours
    expression: object.metadata.name == '%[1]s'
  validations:
  - expression: object.spec.maxReplicas <= 2
    message: at most two, says the administrator
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: %[1]s
spec:
  policyName: %[1]s
  validationActions: [Deny]
`, s.name))
	s.deleteLater(s.setManifest(1))
	// The policy reaches Muster by a watch.
	s.eventually("the policy denies", soon, func(ctx context.Context) error {
		result, err := s.fleet.Host.Kubectl().Input(ctx, s.setManifest(3), "create", "--dry-run=server", "-f", "-")
		if err == nil {
			return fmt.Errorf("three were allowed: %s", result.Stdout)
		}
		if !strings.Contains(result.Stderr, "at most two, says the administrator") {
			return fmt.Errorf("denied with %q", result.Stderr)
		}
		return nil
	})
	s.apply(s.setManifest(2))
}

// TestHeadersProveNothing: whoever reaches Muster itself, and names a user in the
// headers of an aggregator without its certificate, is nobody.
func TestHeadersProveNothing(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(client.CloseIdleConnections)
	for name, headers := range map[string]http.Header{
		"without headers":           {},
		"as an administrator":       {"X-Remote-User": {"admin"}, "X-Remote-Group": {"system:masters"}},
		"as the server itself":      {"X-Remote-User": {"system:apiserver"}, "X-Remote-Group": {"system:masters"}},
		"impersonating one":         {"Impersonate-User": {"admin"}, "Impersonate-Group": {"system:masters"}},
		"with a token of one's own": {"Authorization": {"Bearer system:apiserver"}},
	} {
		url := "https://" + s.fleet.Muster.Address() + "/apis/lib.projectsveltos.io/v1beta1/clustersets"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = headers
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: the answer is %s", name, resp.Status)
		}
	}
}
