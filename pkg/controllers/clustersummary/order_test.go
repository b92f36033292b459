// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

func dependingOn(summary *configv1beta1.ClusterSummary, names ...string) *configv1beta1.ClusterSummary {
	summary.Spec.ClusterProfileSpec.DependsOn = names
	return summary
}

func TestPrerequisitesComeFirst(t *testing.T) {
	app, database := dependingOn(summaryFor("app"), "database", "storage", "nobody"), summaryFor("database")
	storage := summaryFor("storage")
	storage.Status.Conditions = []metav1.Condition{provisioned(1)}
	elsewhere := summaryFor("nobody")
	elsewhere.Name, elsewhere.Spec.ClusterName = "nobody-sveltos-cluster2", "cluster2"
	elsewhere.Status.Conditions = []metav1.Condition{provisioned(1)}
	s := newStage(t, app, database, storage, elsewhere, registration())
	if s.look(app) || readyIn(app).Reason != configv1beta1.ReasonWaitingForPrerequisites {
		t.Errorf("deployed before what it depends on: %+v", readyIn(app))
	}
	for _, want := range []string{"database (not deployed yet)", "nobody (there is no such ClusterProfile)"} {
		if !strings.Contains(*app.Status.Dependencies, want) {
			t.Errorf("status.dependencies is %q, want %q", *app.Status.Dependencies, want)
		}
	}
	if strings.Contains(*app.Status.Dependencies, "storage (") {
		t.Errorf("status.dependencies is %q", *app.Status.Dependencies)
	}
	f, err := s.flowOf(t.Context(), app, registration())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.mayBegin(t.Context(), f, "", false); !errors.Is(err, errHeld) {
		t.Errorf("a job that was queued before begins: %v", err)
	}
	if !s.look(database) {
		t.Error("who depends on nobody waits")
	}

	database.Status.Conditions = []metav1.Condition{provisioned(1)}
	if err := s.Client.Status().Update(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	app.Spec.ClusterProfileSpec.DependsOn = []string{"database", "storage"}
	if err := s.Client.Update(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if !s.look(app) || !strings.HasPrefix(*app.Status.Dependencies, "All are deployed") {
		t.Errorf("it waits: %q", *app.Status.Dependencies)
	}
}

// What is deployed already stays ready while what it depends on is not.
func TestAPrerequisiteThatFailsTakesNothingBack(t *testing.T) {
	app := dependingOn(summaryFor("app"), "database")
	app.Status.Conditions = []metav1.Condition{provisioned(1)}
	s := newStage(t, app, summaryFor("database"), registration())
	if s.look(app) || readyIn(app).Status != metav1.ConditionTrue {
		t.Errorf("it is %+v", readyIn(app))
	}
}

func TestProfilesThatDependOnEachOtherSaySo(t *testing.T) {
	a, b := dependingOn(summaryFor("a"), "b"), dependingOn(summaryFor("b"), "a")
	s := newStage(t, a, b, registration())
	if s.look(a) || !strings.Contains(*a.Status.Dependencies, "a → b → a") {
		t.Errorf("it says %q", *a.Status.Dependencies)
	}
	// And neither keeps the other from going.
	a, b = dependingOn(deletedSummary("a"), "b"), dependingOn(deletedSummary("b"), "a")
	s = newStage(t, a, b, registration())
	if !s.look(a) || !s.look(b) {
		t.Error("they are not withdrawn")
	}
}

func TestAPrerequisiteGoesLast(t *testing.T) {
	app, database := dependingOn(deletedSummary("app"), "database"), deletedSummary("database")
	s := newStage(t, app, database, registration())
	if s.look(database) || !strings.Contains(readyIn(database).Message, "app") {
		t.Errorf("withdrawn before what depends on it: %+v", readyIn(database))
	}
	f, err := s.flowOf(t.Context(), database, registration())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.mayBegin(t.Context(), f, "", true); !errors.Is(err, errHeld) {
		t.Errorf("a job that was queued before begins: %v", err)
	}
	if !s.look(app) {
		t.Error("who nobody depends on waits")
	}
	app.Finalizers = nil
	if err := s.Client.Update(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if !s.look(database) {
		t.Errorf("not withdrawn after what depended on it: %+v", readyIn(database))
	}
}
