// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
)

const (
	testHook   = "apiVersion: v1\nkind: Pod\nmetadata: {name: check, annotations: {helm.sh/hook: test}}\n"
	bothHooks  = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {helm.sh/hook: 'pre-install,pre-upgrade,pre-delete'}}\n"
	definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.io}\n"
)

// with deploys a chart with settings.
func (b *helmBench) with(settings Settings, c *Chart, values map[string]any) (Outcome, error) {
	b.t.Helper()
	return b.manager.Deploy(b.t.Context(), Cluster{Name: "civo/cluster1"}, Release{Namespace: "apps", Name: "web", Chart: c, Values: values, Settings: settings})
}

func (b *helmBench) mustWith(settings Settings, c *Chart, values map[string]any) Outcome {
	b.t.Helper()
	outcome, err := b.with(settings, c, values)
	if err != nil {
		b.t.Fatal(err)
	}
	return outcome
}

// last is the last revision as it is stored.
func (b *helmBench) last() *helmrelease.Release {
	b.t.Helper()
	b.storage.SetNamespace("apps")
	last, err := storage.Init(b.storage).Last("web")
	if err != nil {
		b.t.Fatal(err)
	}
	return last
}

func (b *helmBench) wantCalls(what string, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.take()); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWaits(t *testing.T) {
	b := newHelmBench(t)
	b.mustWith(Settings{}, b.chart("1.0.0"), nil)
	b.wantCalls("without a wait")
	b.mustWith(Settings{Wait: true}, b.chart("1.1.0"), nil)
	b.wantCalls("wait", "update force=false", "wait 5m0s")
	b.mustWith(Settings{Wait: true, WaitForJobs: true, Timeout: time.Minute}, b.chart("1.2.0"), nil)
	b.wantCalls("wait for jobs", "update force=false", "wait with jobs 1m0s")
	b.unready = errors.New("Deployment apps/web: 0 of 1 Pods are ready")
	if _, err := b.with(Settings{Wait: true}, b.chart("1.3.0"), nil); err == nil || !strings.Contains(err.Error(), "Deployment apps/web") {
		t.Errorf("error %v", err)
	}
	b.take()
	if got := b.last(); got.Info.Status != helmrelease.StatusFailed {
		t.Errorf("what never became ready is %s", got.Info.Status)
	}
	// It is tried again, and becomes ready.
	b.unready = nil
	if outcome := b.mustWith(Settings{Wait: true}, b.chart("1.3.0"), nil); outcome.Action != Upgraded {
		t.Errorf("did %s", outcome.Action)
	}
}

func TestWaitOfAnInstallation(t *testing.T) {
	b := newHelmBench(t)
	b.unready = errors.New("not ready")
	for range 2 {
		if _, err := b.with(Settings{Wait: true}, b.chart("1.0.0"), nil); err == nil {
			t.Fatal("it is not ready, and is no error")
		}
		b.wantCalls("wait", "wait 5m0s")
	}
	b.unready = nil
	if outcome := b.mustWith(Settings{Wait: true}, b.chart("1.0.0"), nil); outcome.Action != Installed {
		t.Errorf("did %s", outcome.Action)
	}
}

func TestNameOfAnUninstalledRelease(t *testing.T) {
	b := newHelmBench(t)
	b.leave(1, helmrelease.StatusUninstalled, "1.0.0")
	settings := Settings{Install: InstallSettings{KeepNames: true}}
	if _, err := b.with(settings, b.chart("1.0.0"), nil); err == nil || !strings.Contains(err.Error(), "installOptions.replace") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"1 1.0.0 uninstalled"}, b.history()); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	b.mustWith(Settings{}, b.chart("1.0.0"), nil)
	// An attempt that failed is not kept from being repeated.
	b = newHelmBench(t)
	b.leave(1, helmrelease.StatusFailed, "1.0.0")
	b.mustWith(settings, b.chart("1.0.0"), nil)
}

func TestLabelsAndDescription(t *testing.T) {
	b := newHelmBench(t)
	b.mustWith(Settings{}, b.chart("1.0.0"), nil)
	steps := []struct {
		name     string
		settings Settings
		want     Action
		labels   map[string]string
		says     string
	}{
		{"a label", Settings{Labels: map[string]string{"team": "a", "tier": "1"}}, Upgraded, map[string]string{"team": "a", "tier": "1"}, "Upgrade complete"},
		{"the same", Settings{Labels: map[string]string{"team": "a", "tier": "1"}}, Unchanged, map[string]string{"team": "a", "tier": "1"}, "Upgrade complete"},
		{"how it runs", Settings{Labels: map[string]string{"team": "a", "tier": "1"}, Wait: true, Timeout: time.Hour}, Unchanged, map[string]string{"team": "a", "tier": "1"}, "Upgrade complete"},
		{"another", Settings{Labels: map[string]string{"team": "b"}}, Upgraded, map[string]string{"team": "b"}, "Upgrade complete"},
		{"a description", Settings{Labels: map[string]string{"team": "b"}, Description: "as asked"}, Upgraded, map[string]string{"team": "b"}, "as asked"},
		{"none of them", Settings{}, Upgraded, map[string]string{}, "Upgrade complete"},
		{"none again", Settings{}, Unchanged, map[string]string{}, "Upgrade complete"},
	}
	for _, step := range steps {
		outcome := b.mustWith(step.settings, b.chart("1.0.0"), nil)
		last := b.last()
		labels := maps.Clone(last.Labels) // the record's own is what the next step finds
		delete(labels, optionsLabel)
		if outcome.Action != step.want || last.Info.Description != step.says {
			t.Errorf("%s: %s, described as %q", step.name, outcome.Action, last.Info.Description)
		}
		if diff := cmp.Diff(step.labels, labels); diff != "" {
			t.Errorf("%s: labels (-want +got):\n%s", step.name, diff)
		}
	}
}

// Labels that somebody else has put on a release stay, and are no reason to upgrade it.
func TestLabelsOfOthersStay(t *testing.T) {
	r := Release{Settings: Settings{Labels: map[string]string{"team": "a"}}}
	ours := r.Settings.optionsHash()
	for name, tc := range map[string]struct {
		release Release
		former  map[string]string
		want    map[string]string
	}{
		"nothing":            {Release{}, nil, map[string]string{}},
		"others'":            {Release{}, map[string]string{"x": "y"}, map[string]string{}},
		"ours over others'":  {r, map[string]string{"x": "y"}, map[string]string{"team": "a", optionsLabel: ours}},
		"other ones of ours": {r, map[string]string{"x": "y", "status": "deployed", "modifiedAt": "1", optionsLabel: "z"}, map[string]string{"x": "null", "team": "a", optionsLabel: ours}},
		"none any more":      {Release{}, map[string]string{"team": "a", optionsLabel: ours, postRenderLabel: "p"}, map[string]string{"team": "null", optionsLabel: "null", postRenderLabel: "null"}},
		"patches":            {Release{PostRenderHash: "p"}, map[string]string{"x": "y"}, map[string]string{postRenderLabel: "p"}},
	} {
		if diff := cmp.Diff(tc.want, recordLabels(tc.release, tc.former)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMaxHistory(t *testing.T) {
	for most, want := range map[int]int{0: 2, 1: 1, 3: 3, -1: 5} {
		b := newHelmBench(t)
		for _, version := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"} {
			b.mustWith(Settings{Upgrade: UpgradeSettings{MaxHistory: most}}, b.chart(version), nil)
		}
		if got := b.history(); len(got) != want {
			t.Errorf("at most %d: %v", most, got)
		}
	}
}

func TestReusedValues(t *testing.T) {
	first := map[string]any{"replicas": 3, "image": map[string]any{"tag": "a"}}
	second := map[string]any{"image": map[string]any{"pull": "b"}}
	both := map[string]any{"replicas": 3, "image": map[string]any{"tag": "a", "pull": "b"}}
	for name, tc := range map[string]struct {
		upgrade UpgradeSettings
		want    map[string]any
	}{
		"reset":            {UpgradeSettings{}, second},
		"reuse":            {UpgradeSettings{ReuseValues: true}, both},
		"reset then reuse": {UpgradeSettings{ResetThenReuseValues: true}, both},
	} {
		t.Run(name, func(t *testing.T) {
			b := newHelmBench(t)
			b.mustWith(Settings{}, b.chart("1.0.0"), first)
			if outcome := b.mustWith(Settings{Upgrade: tc.upgrade}, b.chart("1.0.0"), second); outcome.Action != Upgraded {
				t.Errorf("did %s", outcome.Action)
			}
			want, _ := hashValues(tc.want)
			if got, _ := hashValues(b.last().Config); got != want {
				t.Errorf("values %v, want %v", b.last().Config, tc.want)
			}
			if outcome := b.mustWith(Settings{Upgrade: tc.upgrade}, b.chart("1.0.0"), second); outcome.Action != Unchanged || outcome.ValuesHash != want {
				t.Errorf("and then %s, hash %s", outcome.Action, outcome.ValuesHash)
			}
		})
	}
	// What differs between the two is whose defaults count.
	for upgrade, want := range map[UpgradeSettings]string{{ReuseValues: true}: `replicas: "1"`, {ResetThenReuseValues: true}: `replicas: "9"`} {
		b := newHelmBench(t)
		b.mustWith(Settings{}, b.chart("1.0.0"), nil)
		b.mustWith(Settings{Upgrade: upgrade}, b.chart("1.1.0", "values.yaml", "replicas: 9\n"), nil)
		if got := b.last().Manifest; !strings.Contains(got, want) {
			t.Errorf("%+v: %s", upgrade, got)
		}
	}
}

func TestForceAndCleanup(t *testing.T) {
	b := newHelmBench(t)
	b.mustWith(Settings{}, b.chart("1.0.0"), nil)
	b.mustWith(Settings{Upgrade: UpgradeSettings{Force: true}}, b.chart("1.1.0"), nil)
	b.wantCalls("force", "update force=true")
	b.unready = errors.New("not ready")
	if _, err := b.with(Settings{Wait: true, Upgrade: UpgradeSettings{CleanupOnFail: true}}, b.chart("1.2.0"), nil); err == nil {
		t.Error("what is not ready is no error")
	}
	b.wantCalls("clean up", "update force=false", "wait 5m0s", "delete")
}

func TestSubNotes(t *testing.T) {
	b := newHelmBench(t)
	whole := b.chart("1.0.0", "templates/NOTES.txt", "the parent's notes",
		"charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n", "charts/sub/templates/NOTES.txt", "the child's notes")
	b.mustWith(Settings{}, b.chart("0.9.0"), nil)
	b.mustWith(Settings{}, whole, nil)
	if notes := b.last().Info.Notes; strings.Contains(notes, "child") {
		t.Errorf("notes %q", notes)
	}
	b.mustWith(Settings{}, b.chart("0.9.0"), nil)
	b.mustWith(Settings{Upgrade: UpgradeSettings{SubNotes: true}}, whole, nil)
	if notes := b.last().Info.Notes; !strings.Contains(notes, "child") || !strings.Contains(notes, "parent") {
		t.Errorf("with those of subcharts: %q", notes)
	}
}

func TestSchemaOfValues(t *testing.T) {
	b := newHelmBench(t)
	c := b.chart("1.0.0", "values.schema.json", `{"type":"object","properties":{"replicas":{"type":"integer"}}}`)
	many := map[string]any{"replicas": "many"}
	if _, err := b.with(Settings{}, c, many); err == nil {
		t.Error("values against the schema are no error")
	}
	b.mustWith(Settings{SkipSchemaValidation: true}, c, many)
}
