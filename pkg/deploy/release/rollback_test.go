// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/storage"
)

// goBack deploys a release that a rollback asks for.
func (b *helmBench) goBack(c *Chart, values map[string]any) Outcome {
	b.t.Helper()
	outcome, err := b.manager.Deploy(b.t.(*testing.T).Context(), Cluster{Name: "civo/cluster1"},
		Release{Namespace: "apps", Name: "web", Chart: c, Values: values, Rollback: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return outcome
}

// description is what Helm says of the newest revision.
func (b *helmBench) description() string {
	b.t.Helper()
	b.storage.SetNamespace("apps")
	history, err := readHistory(storage.Init(b.storage), "web")
	if err != nil || len(history) == 0 {
		b.t.Fatal(history, err)
	}
	return history[len(history)-1].Info.Description
}

func TestARollbackIsHelms(t *testing.T) {
	b := newHelmBench(t)
	values := map[string]any{"color": "blue"}
	b.mustDeploy(b.chart("1.0.0"), values)
	b.mustDeploy(b.chart("2.0.0"), values)
	outcome := b.goBack(b.chart("1.0.0"), values)
	if outcome.Action != Upgraded || outcome.Revision != 3 || b.description() != "Rollback to 1" {
		t.Errorf("the outcome is %+v, and Helm says %q", outcome, b.description())
	}
	if want := []string{"2 2.0.0 superseded", "3 1.0.0 deployed"}; !slices.Equal(b.history(), want) {
		t.Errorf("the history is %q, want %q", b.history(), want)
	}
	if outcome := b.goBack(b.chart("1.0.0"), values); outcome.Action != Unchanged {
		t.Errorf("once more it is %+v", outcome)
	}
}

// What Helm has not in its history, or not with these values, is an upgrade.
func TestARollbackToWhatHelmHasForgotten(t *testing.T) {
	b := newHelmBench(t)
	for _, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		b.mustDeploy(b.chart(version), nil)
	}
	if outcome := b.goBack(b.chart("1.0.0"), nil); outcome.Action != Upgraded || b.description() != "Upgrade complete" {
		t.Errorf("the outcome is %+v, and Helm says %q", outcome, b.description())
	}
	if outcome := b.goBack(b.chart("3.0.0"), map[string]any{"color": "blue"}); outcome.Action != Upgraded || b.description() != "Upgrade complete" {
		t.Errorf("with other values the outcome is %+v, and Helm says %q", outcome, b.description())
	}
}

// Without a rollback, a former version is deployed as any other one is.
func TestADowngradeIsNoRollback(t *testing.T) {
	b := newHelmBench(t)
	b.mustDeploy(b.chart("1.0.0"), nil)
	b.mustDeploy(b.chart("2.0.0"), nil)
	if b.mustDeploy(b.chart("1.0.0"), nil); b.description() != "Upgrade complete" {
		t.Errorf("Helm says %q", b.description())
	}
}
