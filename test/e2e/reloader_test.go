// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// user is a Deployment that takes variables from the scope's ConfigMap.
func (s *scope) user() string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {namespace: %s, name: %s}
spec:
  selector: {matchLabels: {app: %[2]s}}
  replicas: 0
  template:
    metadata: {labels: {app: %[2]s}}
    spec: {containers: [{name: web, image: web, envFrom: [{configMapRef: {name: %[2]s}}]}]}
`, contentNamespace, s.name)
}

func (s *scope) readUser(ctx context.Context) (*appsv1.Deployment, error) {
	return s.managed["cluster1"].AppsV1().Deployments(contentNamespace).Get(ctx, s.name, metav1.GetOptions{})
}

// awaitNoted waits until it is noted what the Deployment uses, and returns its generation.
func (s *scope) awaitNoted() (generation int64) {
	s.Helper()
	s.eventually("what it uses is noted", soon, func(ctx context.Context) error {
		found, err := s.readUser(ctx)
		if err != nil || found.Annotations["muster.projectsveltos.io/reload"] == "" {
			return fmt.Errorf("%s, %w", asJSON(found), err)
		}
		generation = found.Generation
		return nil
	})
	return generation
}

// awaitRestarted waits until the Deployment is restarted, and at a generation.
func (s *scope) awaitRestarted(generation int64) {
	s.Helper()
	s.eventually("it is restarted", soon, func(ctx context.Context) error {
		found, err := s.readUser(ctx)
		if err != nil {
			return err
		}
		for _, env := range found.Spec.Template.Spec.Containers[0].Env {
			if env.Name == "PROJECTSVELTOS" && env.Value != "" && found.Generation == generation {
				return nil
			}
		}
		return errors.New(asJSON(found.Spec.Template))
	})
}

// wantRestartsBy: nobody else has written what the reloader writes.
func (s *scope) wantRestartsBy(user string) {
	s.Helper()
	events, err := s.fleet.Managed("cluster1").AuditEvents(func(e *auditv1.Event) bool {
		return e.ObjectRef != nil && e.ObjectRef.Name == s.name && strings.Contains(e.RequestURI, "fieldManager=muster-reloader")
	})
	if err != nil || len(events) == 0 {
		s.Errorf("restarts: %d, %v", len(events), err)
	}
	for i := range events {
		if events[i].User.Username != user {
			s.Errorf("restarted by %s, want %s", events[i].User.Username, user)
		}
	}
}

// TestReloader: a workload restarts when what it uses changes, and for nothing else.
func TestReloader(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	s.applyRaw(source{name: "content", data: documents(settings(s.name, "1"), s.user())})
	s.applyProfile(s.name, "content", "reloader: true\n  "+s.everywhere())
	s.provisioned(s.name)
	generation := s.awaitNoted()
	s.applyRaw(source{name: "content", data: documents(settings(s.name, "2"), s.user())})
	s.awaitRestarted(generation + 1)
	s.always("and once", settle, func(ctx context.Context) error {
		found, err := s.readUser(ctx)
		if err == nil && found.Generation != generation+1 {
			err = fmt.Errorf("its generation is %d, and was %d", found.Generation, generation)
		}
		return err
	})
}
