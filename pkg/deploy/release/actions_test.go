// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	helmrelease "helm.sh/helm/v3/pkg/release"
)

func TestKeepHistory(t *testing.T) {
	b := newHelmBench(t)
	b.mustWith(Settings{}, b.chart("1.0.0"), nil)
	b.mustWith(Settings{}, b.chart("1.1.0"), nil)
	b.take()
	b.builds = true
	keep := UninstallSettings{KeepHistory: true, DeletionPropagation: "foreground"}
	for range 2 { // the second finds it as it should be
		if err := b.manager.Uninstall(t.Context(), Cluster{}, "apps", "web", keep); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1 1.0.0 superseded", "2 1.1.0 uninstalled"}, b.history()); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
	}
	b.wantCalls("with its propagation, once", "delete Foreground")
	b.builds = false
	b.mustWith(Settings{}, b.chart("1.1.0"), nil)
	if got := b.last(); got.Version != 3 || got.Info.Status != helmrelease.StatusDeployed {
		t.Errorf("installed again as %d %s", got.Version, got.Info.Status)
	}
	if err := b.manager.Uninstall(t.Context(), Cluster{}, "apps", "web", UninstallSettings{}); err != nil || len(b.history()) > 0 {
		t.Errorf("history %v, %v", b.history(), err)
	}
}

func TestUpgradeCRDs(t *testing.T) {
	b := newHelmBench(t)
	b.mustWith(Settings{}, b.chart("1.0.0", "crds/widgets.yaml", definition), nil)
	b.mustWith(Settings{}, b.chart("1.1.0", "crds/widgets.yaml", definition+"spec: {scope: Cluster}\n"), nil)
	if b.definitions.crds != nil {
		t.Error("definitions were upgraded without having been asked for")
	}
	settings := Settings{Timeout: time.Minute, Upgrade: UpgradeSettings{UpgradeCRDs: true}}
	b.mustWith(settings, b.chart("1.2.0", "crds/widgets.yaml", definition), nil)
	want := fakeDefinitions{former: []string{definition + "spec: {scope: Cluster}\n"}, crds: []string{definition}, timeout: time.Minute}
	if diff := cmp.Diff(want, b.definitions, cmp.AllowUnexported(fakeDefinitions{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.definitions.fail = errors.New("widgets.example.io is not established")
	if _, err := b.with(settings, b.chart("1.3.0", "crds/widgets.yaml", definition), nil); err == nil || !strings.Contains(err.Error(), "widgets.example.io") {
		t.Errorf("error %v", err)
	}
	if got := b.last(); got.Chart.Metadata.Version != "1.2.0" || got.Info.Status != helmrelease.StatusDeployed {
		t.Errorf("the release is %s %s", got.Chart.Metadata.Version, got.Info.Status)
	}
}

func TestRecoverAfterFailures(t *testing.T) {
	b := newHelmBench(t)
	b.fail = errors.New("the hook fails")
	c := b.chart("1.0.0", "templates/hook.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: pre-install}}\n")
	settings := Settings{Install: InstallSettings{RecoverAfter: 3}}
	var versions []int
	for range 7 {
		if _, err := b.with(settings, c, nil); err == nil {
			t.Fatal("it works")
		}
		versions = append(versions, b.last().Version)
	}
	// Helm counts from one again after an uninstallation.
	if diff := cmp.Diff([]int{1, 2, 3, 1, 2, 3, 1}, versions); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
	b.fail = nil
	b.mustWith(settings, c, nil)
}

func TestTestsOfACharts(t *testing.T) {
	b := newHelmBench(t)
	c := b.chart("1.0.0", "templates/tests/check.yaml", testHook,
		"templates/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter22-hunter22}\n")
	b.mustWith(Settings{}, c, nil)
	b.wantCalls("not asked for")
	b.fail = errors.New("the Pod failed; the last lines: the password is hunter22-hunter22, and is refused")
	settings := Settings{RunTests: true, Timeout: time.Minute}
	for range 2 { // again and again while they fail
		outcome, err := b.with(settings, c, nil)
		if err == nil || !strings.Contains(err.Error(), "a test of the chart failed") || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s, error %v", outcome.Action, err)
		}
		b.wantCalls("a failing test", "delete", "hook 1m0s")
		if got := b.last(); got.Version != 1 || got.Info.Status != helmrelease.StatusDeployed {
			t.Errorf("the release is %d %s", got.Version, got.Info.Status)
		}
	}
	b.fail = nil
	b.mustWith(settings, c, nil)
	b.wantCalls("a test that passes", "delete", "hook 1m0s")
	b.mustWith(settings, c, nil)
	b.wantCalls("a test that has passed")
	b.mustWith(settings, b.chart("1.1.0", "templates/tests/check.yaml", testHook), nil)
	b.wantCalls("after an upgrade", "update force=false", "delete", "hook 1m0s")
	b.mustWith(settings, b.chart("1.2.0"), nil)
	b.wantCalls("without tests", "update force=false")
}

// What may not be taken over is refused before there is a revision whose uninstallation
// would delete it.
func TestNothingIsRecordedOfWhatMayNotBeTaken(t *testing.T) {
	b := newHelmBench(t)
	b.remains.taken = errors.New("ConfigMap apps/web is deployed by ClusterProfile base")
	if _, err := b.with(Settings{Install: InstallSettings{TakeOwnership: true}}, b.chart("1.0.0"), nil); !errors.Is(err, b.remains.taken) || len(b.history()) > 0 {
		t.Errorf("error %v, history %v", err, b.history())
	}
	b.remains.taken = nil
	b.mustWith(Settings{}, b.chart("1.0.0"), nil)
	b.remains.taken = errors.New("ConfigMap apps/web is deployed by ClusterProfile base")
	if _, err := b.with(Settings{Upgrade: UpgradeSettings{TakeOwnership: true}}, b.chart("1.1.0"), nil); !errors.Is(err, b.remains.taken) || len(b.history()) != 1 {
		t.Errorf("error %v, history %v", err, b.history())
	}
}

func TestAtomicUndoesWhatFails(t *testing.T) {
	b := newHelmBench(t)
	b.unready = errors.New("not ready")
	if _, err := b.with(Settings{Atomic: true}, b.chart("1.0.0"), nil); err == nil || !strings.Contains(err.Error(), "uninstalled due to atomic") {
		t.Errorf("error %v", err)
	}
	if got := b.history(); len(got) > 0 {
		t.Errorf("an installation left %v", got)
	}
	b.unready = nil
	b.mustWith(Settings{Atomic: true}, b.chart("1.0.0"), nil)
	b.take()
	b.unready = errors.New("not ready")
	if _, err := b.with(Settings{Atomic: true}, b.chart("1.1.0"), nil); err == nil {
		t.Error("an upgrade that is not ready is no error")
	}
	b.unready = nil
	// The roll-back's own wait fails as well in this bench: what matters is that it was begun.
	if got := b.history(); len(got) < 3 || !strings.HasPrefix(got[2], "3 1.0.0") {
		t.Errorf("not rolled back: %v", got)
	}
	if outcome := b.mustWith(Settings{Atomic: true}, b.chart("1.1.0"), nil); outcome.Action != Upgraded {
		t.Errorf("then %s", outcome.Action)
	}
}

func TestHooksAreDisabled(t *testing.T) {
	b := newHelmBench(t)
	b.fail = errors.New("a hook ran")
	settings := Settings{Install: InstallSettings{DisableHooks: true}, Upgrade: UpgradeSettings{DisableHooks: true}}
	b.mustWith(settings, b.chart("1.0.0", "templates/hook.yaml", bothHooks), nil)
	b.mustWith(settings, b.chart("1.1.0", "templates/hook.yaml", bothHooks), nil)
	uninstall := UninstallSettings{Timeout: time.Second}
	if err := b.manager.Uninstall(t.Context(), Cluster{}, "apps", "web", uninstall); err == nil || !strings.Contains(err.Error(), "a hook ran") {
		t.Errorf("error %v", err)
	}
	if got := b.take(); !slices.Contains(got, "hook 1s") {
		t.Errorf("the hook was not given its time: %v", got)
	}
	uninstall.DisableHooks = true
	if err := b.manager.Uninstall(t.Context(), Cluster{}, "apps", "web", uninstall); err != nil {
		t.Error(err)
	}
	for name, settings := range map[string]Settings{
		"an installation": {Upgrade: UpgradeSettings{DisableHooks: true}},
		"an upgrade":      {Install: InstallSettings{DisableHooks: true}},
	} {
		b := newHelmBench(t)
		if name == "an upgrade" {
			b.mustWith(settings, b.chart("1.0.0", "templates/hook.yaml", bothHooks), nil)
		}
		b.fail = errors.New("a hook ran")
		if _, err := b.with(settings, b.chart("1.1.0", "templates/hook.yaml", bothHooks), nil); err == nil {
			t.Errorf("%s ran no hooks", name)
		}
	}
}
