// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// checksOn are a readiness check that passes while a ConfigMap is there, and a liveness
// check that passes while no other says that it is ill.
const checksOn = `{"spec": {
  "readinessChecks": [{"name": "gate", "resourceSelectors": [{"group": "", "version": "v1", "kind": "ConfigMap", "namespace": "default", "name": "%[1]s-gate"}],
    "condition": "function evaluate()\n return {pass = #resources == 1, message = 'the gate is shut'}\nend"}],
  "livenessChecks": [{"name": "switch", "resourceSelectors": [{"group": "", "version": "v1", "kind": "ConfigMap", "namespace": "default",
      "labelFilters": [{"key": "scope", "operation": "Equal", "value": "%[1]s"}],
      "evaluateCEL": [{"name": "ill", "rule": "resource.data.state == 'ill'"}]}],
    "condition": "function evaluate()\n return {pass = #resources == 0, message = 'somebody is ill'}\nend"}]
}}`

// setState creates or changes the ConfigMap in a managed cluster that its check looks at.
func (s *scope) setState(cluster, name, state string) {
	s.Helper()
	configMaps := s.managed[cluster].CoreV1().ConfigMaps(contentNamespace)
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: s.labels()},
		Data:       map[string]string{"state": state},
	}
	_, err := configMaps.Create(s.Context(), object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = configMaps.Update(s.Context(), object, metav1.UpdateOptions{})
	} else if err == nil {
		s.later(func(ctx context.Context) error {
			return configMaps.Delete(ctx, name, metav1.DeleteOptions{})
		})
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scope) patchCluster(cluster, patch string) {
	s.Helper()
	s.kubectl("patch", "sveltoscluster", cluster, "--namespace="+s.name, "--type=merge", "--patch="+patch)
}

// awaitChecks waits until a cluster has this condition of its checks, with this in the
// message, and is ready or not.
func (s *scope) awaitChecks(cluster string, ready bool, status metav1.ConditionStatus, reason, says string) {
	s.Helper()
	s.eventually(fmt.Sprintf("the checks of %s are %s", cluster, reason), failoverSoon, func(ctx context.Context) error {
		object, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, cluster, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if object.Status.Ready != ready {
			return fmt.Errorf("status is %s", asJSON(object.Status))
		}
		if err := condition(object.Status.Conditions, libv1beta1.ConditionChecksPassed, status, reason); err != nil {
			return err
		}
		if found := meta.FindStatusCondition(object.Status.Conditions, libv1beta1.ConditionChecksPassed); !strings.Contains(found.Message, says) {
			return fmt.Errorf("the message is %q, want %q", found.Message, says)
		}
		return nil
	})
}

// A ConfigMap in the managed cluster flips a check; the set moves its selection, and back.
func TestClusterChecks(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	checks := fmt.Sprintf(checksOn, s.name)
	for _, cluster := range []string{"cluster1", "cluster2"} {
		s.register(cluster, s.labels())
		s.patchCluster(cluster, checks)
		s.awaitChecks(cluster, true, metav1.ConditionTrue, libv1beta1.ReasonChecksPassed, "")
	}
	s.applySet()
	active := s.awaitOneSelected(s.name)
	standby := map[string]string{"cluster1": "cluster2", "cluster2": "cluster1"}[active]

	s.setState(active, s.name, "ill")
	s.awaitSelected(s.name, standby)
	s.awaitChecks(active, false, metav1.ConditionFalse, libv1beta1.ReasonCheckFailed, "liveness check switch failed: somebody is ill")
	object, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(t.Context(), active, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := condition(object.Status.Conditions, libv1beta1.ConditionReady, metav1.ConditionFalse, libv1beta1.ReasonCheckFailed); err != nil {
		t.Error(err)
	}

	// What becomes ready again has to pass its readiness checks too.
	s.setState(active, s.name, "well")
	s.awaitChecks(active, false, metav1.ConditionFalse, libv1beta1.ReasonCheckFailed, "readiness check gate failed: the gate is shut")
	s.setState(active, s.name+"-gate", "open")
	s.awaitChecks(active, true, metav1.ConditionTrue, libv1beta1.ReasonChecksPassed, "")
	if err := s.observer.OnlySelected(t.Context(), s.name, s.name+"/"+standby); err != nil {
		t.Errorf("a cluster takes its place back by itself: %v", err)
	}

	s.setState(standby, s.name, "ill")
	s.awaitSelected(s.name, active)
}

// A script that fails is a check that does not pass; one that cannot be run to its end
// moves nothing. Both are conditions that name the check.
func TestClusterChecksWithBadScripts(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	check := func(script string) string {
		return fmt.Sprintf(`{"spec": {"livenessChecks": [{"name": "bad", "resourceSelectors": [], "condition": %s}]}}`, asJSON(script))
	}
	s.kubectlFails("spec.livenessChecks[0].condition: Invalid value: ", "patch", "sveltoscluster", "cluster1",
		"--namespace="+s.name, "--type=merge", "--patch="+check("function evaluate()\n local = {}\nend"))

	s.patchCluster("cluster1", check("function evaluate() while true do end end"))
	s.awaitChecks("cluster1", true, metav1.ConditionUnknown, libv1beta1.ReasonCheckUndecided, "liveness check bad could not be run")
	s.always("it stays ready", 8*time.Second, func(ctx context.Context) error {
		object, err := s.muster.LibV1beta1().SveltosClusters(s.name).Get(ctx, "cluster1", metav1.GetOptions{})
		if err == nil && !object.Status.Ready {
			err = errors.New(asJSON(object.Status))
		}
		return err
	})

	s.patchCluster("cluster1", check("function evaluate()\n return resources.x.y\nend"))
	s.awaitChecks("cluster1", false, metav1.ConditionFalse, libv1beta1.ReasonScriptError, "liveness check bad has a script that fails: line 2: ")
	s.patchCluster("cluster1", `{"spec": {"livenessChecks": null}}`)
	s.awaitReady("cluster1", true)
}
