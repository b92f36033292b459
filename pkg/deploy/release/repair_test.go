// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	helmtime "helm.sh/helm/v3/pkg/time"
	"k8s.io/apimachinery/pkg/util/sets"
)

// fakeRemains notes what it was asked for.
type fakeRemains struct {
	considered []string
	swept      []string
	cleared    []string
	fail       error
	// taken is the error for objects that may not be taken over.
	taken error
}

func (f *fakeRemains) mayTake(string) error { return f.taken }

func (f *fakeRemains) consider(manifests []string) { f.considered = manifests }

func (f *fakeRemains) sweep(_ *helmrelease.Release, manifests []string, _ string) error {
	if f.fail == nil {
		f.swept = append(f.swept, manifests...)
	}
	return f.fail
}

func (f *fakeRemains) clear(hook *helmrelease.Hook, _ time.Duration) error {
	f.cleared = append(f.cleared, hook.Name)
	return nil
}

// manifestOf has a ConfigMap of each name.
func manifestOf(names ...string) string {
	var manifest strings.Builder
	for _, name := range names {
		fmt.Fprintf(&manifest, "---\n# Source: nginx/templates/%[1]s.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %[1]s}\n", name)
	}
	return manifest.String()
}

// leaveWith is leave with a manifest and hooks.
func (b *helmBench) leaveWith(number int, status helmrelease.Status, version, manifest string, hooks ...*helmrelease.Hook) {
	b.t.Helper()
	r := revision(number, status, version)
	r.Namespace, r.Manifest, r.Hooks = "apps", manifest, hooks
	b.storage.SetNamespace("apps")
	if err := storage.Init(b.storage).Create(r); err != nil {
		b.t.Fatal(err)
	}
}

// What an upgrade had made that nobody wants any more goes when another one has
// worked, and not before; until then it is not forgotten.
func TestWhatAnAbandonedUpgradeMadeIsSwept(t *testing.T) {
	b := newHelmBench(t)
	gone := manifestOf("gone")
	b.leaveWith(1, helmrelease.StatusDeployed, "1.1.0", manifestOf("web"))
	b.leaveWith(2, helmrelease.StatusPendingUpgrade, "1.2.0", gone)
	b.lose = true // as if killed at the end
	if _, err := b.deploy(b.chart("1.3.0"), nil); err == nil {
		t.Fatal("it was not recorded, and is no error")
	}
	if len(b.remains.swept) > 0 {
		t.Errorf("swept %q before anything worked", b.remains.swept)
	}
	if !slices.Contains(b.remains.considered, gone) {
		t.Errorf("considered %q", b.remains.considered)
	}
	if !slices.Contains(b.history(), "2 1.2.0 failed") {
		t.Errorf("forgotten: %q", b.history())
	}
	b.lose = false
	b.mustDeploy(b.chart("1.3.0"), nil)
	if !slices.Contains(b.remains.swept, gone) {
		t.Errorf("swept %q", b.remains.swept)
	}
	if diff := cmp.Diff("4 1.3.0 deployed", b.history()[len(b.history())-1]); diff != "" || len(b.history()) > 2 {
		t.Errorf("history %q", b.history())
	}
}

// A sweep that fails is made up for, also if nothing else is to be done.
func TestSweepIsTriedAgain(t *testing.T) {
	b := newHelmBench(t)
	b.leaveWith(1, helmrelease.StatusFailed, "1.2.0", manifestOf("gone"))
	b.remains.fail = errors.New("no route to host")
	if _, err := b.deploy(b.chart("1.2.0"), nil); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Errorf("error %v", err)
	}
	b.remains.fail = nil
	if outcome := b.mustDeploy(b.chart("1.2.0"), nil); outcome.Action != Unchanged || len(b.remains.swept) != 1 {
		t.Errorf("%s, swept %q", outcome.Action, b.remains.swept)
	}
}

func TestNothingIsSweptAfterWhatCameToItsEnd(t *testing.T) {
	b := newHelmBench(t)
	b.mustDeploy(b.chart("1.1.0"), nil)
	b.mustDeploy(b.chart("1.2.0"), nil)
	b.mustDeploy(b.chart("1.2.0"), nil)
	if len(b.remains.swept)+len(b.remains.cleared)+len(b.remains.considered) > 0 {
		t.Errorf("%+v", b.remains)
	}
}

// An uninstall that follows an upgrade without an end takes along what the
// upgrade had not come to delete.
func TestUninstallSweepsWhatAnUpgradeHadNotDeleted(t *testing.T) {
	b := newHelmBench(t)
	first := manifestOf("web", "old")
	b.leaveWith(1, helmrelease.StatusDeployed, "1.1.0", first)
	b.leaveWith(2, helmrelease.StatusPendingUpgrade, "1.2.0", manifestOf("web", "new"), startedHook("migrate", "Job", helmrelease.HookSucceeded))
	if err := b.manager.Uninstall(context.Background(), Cluster{}, "apps", "web", UninstallSettings{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{first}, b.remains.swept); diff != "" {
		t.Errorf("swept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"migrate"}, b.remains.cleared); diff != "" || len(b.history()) > 0 {
		t.Errorf("cleared %q, history %q", b.remains.cleared, b.history())
	}
}

func TestTheHistoryOfWhatFailsForEverIsBounded(t *testing.T) {
	b := newHelmBench(t)
	b.mustDeploy(b.chart("1.1.0"), nil)
	b.lose = true
	for range 10 {
		if _, err := b.deploy(b.chart("1.2.0"), nil); err == nil {
			t.Fatal("it was not recorded, and is no error")
		}
	}
	if len(b.history()) > 3 {
		t.Errorf("history %q", b.history())
	}
	b.lose = false
	b.mustDeploy(b.chart("1.2.0"), nil)
	if len(b.history()) > 2 {
		t.Errorf("history %q", b.history())
	}
}

func TestRedundant(t *testing.T) {
	with := func(number int, status helmrelease.Status, names ...string) *helmrelease.Release {
		r := revision(number, status, "1.2.0")
		r.Manifest = manifestOf(names...)
		return r
	}
	const deployed, failed = helmrelease.StatusDeployed, helmrelease.StatusFailed
	for name, tc := range map[string]struct {
		history []*helmrelease.Release
		want    []int
	}{
		"none":                          {nil, nil},
		"the last":                      {[]*helmrelease.Release{with(1, deployed, "a"), with(2, failed, "a")}, nil},
		"the same again":                {[]*helmrelease.Release{with(1, deployed, "a"), with(2, failed, "a", "b"), with(3, failed, "a", "b")}, []int{2}},
		"objects that nobody has":       {[]*helmrelease.Release{with(1, deployed, "a"), with(2, failed, "b"), with(3, failed, "c")}, nil},
		"what is the one's or other":    {[]*helmrelease.Release{with(1, deployed, "a"), with(2, failed, "a", "b"), with(3, failed, "b")}, []int{2}},
		"what worked":                   {[]*helmrelease.Release{with(1, helmrelease.StatusSuperseded, "a"), with(2, deployed, "a")}, []int{1}},
		"what worked, and failed since": {[]*helmrelease.Release{with(1, helmrelease.StatusSuperseded, "a"), with(2, helmrelease.StatusSuperseded, "a"), with(3, failed, "a")}, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			for _, r := range redundant(tc.history, 2) {
				got = append(got, r.Version)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Helm goes on when it could not write that a revision is not deployed any more.
func TestOnlyOneRevisionIsDeployed(t *testing.T) {
	b := newHelmBench(t)
	b.leave(1, helmrelease.StatusDeployed, "1.1.0")
	b.leave(2, helmrelease.StatusDeployed, "1.2.0")
	if outcome := b.mustDeploy(b.chart("1.2.0"), nil); outcome.Action != Unchanged {
		t.Errorf("did %s", outcome.Action)
	}
	if diff := cmp.Diff([]string{"1 1.1.0 superseded", "2 1.2.0 deployed"}, b.history()); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// startedHook is one that runs, or ran.
func startedHook(name, kind string, policies ...helmrelease.HookDeletePolicy) *helmrelease.Hook {
	return &helmrelease.Hook{
		Name: name, Kind: kind, DeletePolicies: policies,
		LastRun: helmrelease.HookExecution{StartedAt: helmtime.Now(), Phase: helmrelease.HookPhaseRunning},
	}
}

func TestHooksThatAreInTheWayAreCleared(t *testing.T) {
	const before, succeeded, failed = helmrelease.HookBeforeHookCreation, helmrelease.HookSucceeded, helmrelease.HookFailed
	unstarted := startedHook("unstarted", "Job", succeeded)
	unstarted.LastRun = helmrelease.HookExecution{}
	hooks := []*helmrelease.Hook{
		unstarted,
		startedHook("replaced", "Job", before),
		startedHook("short-lived", "Job", succeeded),
		startedHook("account", "ServiceAccount", succeeded),
		startedHook("password", "Secret", failed),
		startedHook("kind", "CustomResourceDefinition", succeeded),
	}
	for status, want := range map[helmrelease.Status][]string{
		helmrelease.StatusPendingUpgrade: {"replaced", "short-lived", "account"},
		// A Job that failed and is replaced anyway is left for people to look at.
		helmrelease.StatusFailed:   {"short-lived", "account"},
		helmrelease.StatusDeployed: nil,
	} {
		t.Run(string(status), func(t *testing.T) {
			b := newHelmBench(t)
			b.leaveWith(1, helmrelease.StatusSuperseded, "1.1.0", "")
			b.leaveWith(2, status, "1.1.0", "", hooks...)
			b.mustDeploy(b.chart("1.2.0"), nil)
			if diff := cmp.Diff(want, b.remains.cleared); diff != "" {
				t.Errorf("cleared (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectsOf(t *testing.T) {
	got, err := objectsOf(manifestOf("a", "b") + "---\n# nothing\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c, namespace: d}\n")
	if want := []string{"/ConfigMap//a", "/ConfigMap//b", "apps/Deployment/d/c"}; err != nil || !slices.Equal(sets.List(got), want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, manifest := range []string{"a: [", "apiVersion: v1\nkind: List\nitems: []\n"} {
		if got, err := objectsOf(manifest); err == nil {
			t.Errorf("%q: %v", manifest, got)
		}
	}
}
