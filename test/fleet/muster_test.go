// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const musterUser = "system:serviceaccount:" + Namespace + ":" + ServiceAccount

// Muster starts, is killed, starts again on its data and stops, with nothing
// but the shipped rights.
func TestMuster(t *testing.T) {
	f := startForTest(t, Options{Managed: []string{"cluster1"}, ManagedControllers: true})
	observer, err := f.Observer()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.RegisterManaged(t.Context(), "civo", "cluster1", map[string]string{"env": "prod"}); err != nil {
		t.Fatal(err)
	}
	awaitReady := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*prompt)
		defer cancel()
		err := Await(ctx, func(ctx context.Context) error {
			ready, err := observer.ClusterReady(ctx, "civo", "cluster1")
			if err == nil && !ready {
				err = fmt.Errorf("cluster1 is not ready")
			}
			return err
		})
		if err != nil {
			t.Fatalf("%v; Muster's log ends:\n%s", err, f.Muster.LogTail())
		}
	}
	awaitReady()

	if err := f.Muster.Kill(); err != nil {
		t.Fatal(err)
	}
	if out, err := f.Kubectl(t.Context(), "get", "sveltosclusters", "-A"); err == nil {
		t.Errorf("a killed Muster answered: %s", out.Stdout)
	}
	if err := f.Muster.Kill(); err == nil {
		t.Error("it could be killed twice")
	}
	if err := f.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitReady()

	expectServiceAccount(t, f.Managed("cluster1"), "default")

	ctx, cancel := context.WithTimeout(t.Context(), prompt)
	defer cancel()
	if err := f.Muster.Stop(ctx); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	expectNothingForbidden(t, f)
}

// expectNothingForbidden reads from the audit logs whether Muster ever asked
// for what it may not do: then a right is missing in the shipped RBAC, or the
// request should not be made.
func expectNothingForbidden(t *testing.T, f *Fleet) {
	t.Helper()
	seen := 0
	events, err := f.Host.AuditEvents(func(e *auditv1.Event) bool {
		if e.User.Username != musterUser {
			return false
		}
		seen++
		return e.ResponseStatus != nil && e.ResponseStatus.Code == 403
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Errorf("no request of %s is in the audit log", musterUser)
	}
	for _, e := range events {
		t.Errorf("forbidden: %s %s (%s)", e.Verb, e.RequestURI, strings.TrimSpace(e.ResponseStatus.Message))
	}
}
