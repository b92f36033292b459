// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// asChanges are the settings of which a change is one of what is asked for. Any other
// setting, also one that is new, is to say how the next operation runs and no more.
func asChanges() []string {
	return []string{"Labels", "Description", "PostRender", "RunTests", "Upgrade.ReuseValues", "Upgrade.ResetThenReuseValues"}
}

// eachSetting calls visit with settings of which one is set.
func eachSetting(visit func(path string, set release.Settings)) {
	var walk func(path string, index []int, typ reflect.Type)
	walk = func(path string, index []int, typ reflect.Type) {
		for i := range typ.NumField() {
			field, at := typ.Field(i), append(slices.Clone(index), i)
			if field.Type.Kind() == reflect.Struct {
				walk(path+field.Name+".", at, field.Type)
				continue
			}
			var set release.Settings
			value := reflect.ValueOf(&set).Elem().FieldByIndex(at)
			switch value.Kind() {
			case reflect.Bool:
				value.SetBool(true)
			case reflect.String:
				value.SetString(string(release.Combined)) // any text, and the one that means something
			case reflect.Map:
				value.Set(reflect.ValueOf(map[string]string{"team": "a"}))
			default:
				value.SetInt(7)
			}
			visit(path+field.Name, set)
		}
	}
	walk("", nil, reflect.TypeFor[release.Settings]())
}

func TestWhichSettingsAreAChange(t *testing.T) {
	base := chart("nginx", "1")
	base.PostRenderHash = "patches"
	before, err := chartHash(base)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	eachSetting(func(path string, set release.Settings) {
		changed := base
		changed.Settings = set
		after, err := chartHash(changed)
		if err != nil {
			t.Fatal(err)
		}
		if after != before {
			found = append(found, path)
		}
	})
	slices.Sort(found)
	want := asChanges()
	slices.Sort(want)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("settings that are a change (-want +got):\n%s", diff)
	}
	// Hooks are the same without patches, whatever is done about them.
	base.PostRenderHash = ""
	plain, _ := chartHash(base)
	base.Settings.PostRender = release.Separate
	if hash, _ := chartHash(base); hash != plain {
		t.Error("a strategy without patches is a change")
	}
}

// A setting that says how the next operation runs deploys nothing.
func TestDeployLeavesReleasesAloneWhoseSettingsChange(t *testing.T) {
	eachSetting(func(path string, set release.Settings) {
		t.Run(path, func(t *testing.T) {
			b := newBench(t)
			nginx := chart("nginx", "1")
			nginx.PostRenderHash = "patches"
			request := Request{Revision: "web-1", Charts: ChartList{Charts: []Chart{nginx}}}
			b.mustDeploy(request)
			b.charts.take()
			request.Revision = "web-2"
			request.Charts.Charts[0].Settings = set
			b.mustDeploy(request)
			var want []string
			if slices.Contains(asChanges(), path) {
				want = []string{"load nginx", "deploy nginx"}
			}
			if diff := cmp.Diff(want, b.charts.take()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	})
}

// How a release is to be uninstalled is known when the profile is gone, also if that
// is all that has changed since it was deployed.
func TestUninstallSettingsAreRemembered(t *testing.T) {
	first := release.UninstallSettings{KeepHistory: true}
	second := release.UninstallSettings{DisableHooks: true, KeepHistory: true, DeletionPropagation: "foreground", Timeout: time.Minute}
	b := newBench(t)
	request := func(settings release.UninstallSettings) Request {
		nginx := chart("nginx", "1")
		nginx.Settings.Uninstall = settings
		return Request{Charts: ChartList{Charts: []Chart{nginx}}}
	}
	b.mustDeploy(request(first))
	b.mustDeploy(request(second))
	if diff := cmp.Diff([]string{"load nginx", "deploy nginx"}, b.charts.take()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	b.restart()
	b.charts.fail["uninstall nginx"] = errors.New("a hook failed")
	if result := b.deploy(Request{}); result.OK() {
		t.Error("a failed uninstall is none")
	}
	delete(b.charts.fail, "uninstall nginx")
	if _, err := b.deployer.Withdraw(t.Context(), b.cluster, owner("web", 100).Key(), WithdrawPolicies); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]release.UninstallSettings{second, second}, b.charts.uninstalls); diff != "" {
		t.Errorf("uninstalled with (-want +got):\n%s", diff)
	}
}

// A chart that can't be had changes nothing of the release, and what is said of its
// uninstallation counts all the same.
func TestUninstallSettingsOfAChartThatIsNotFound(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
	b.charts.fail["load nginx"] = errors.New("not found")
	changed := chart("nginx", "2")
	changed.Settings.Uninstall.KeepHistory = true
	result := b.deploy(Request{Charts: ChartList{Charts: []Chart{changed}}})
	entry := result.Record.Release(chartKey(changed))
	if entry == nil || entry.ContentHash == "" || entry.Uninstall == nil || !entry.Uninstall.KeepHistory {
		t.Errorf("entry %+v", entry)
	}
	var failed *ReleaseError
	if !errors.As(result.Features[Helm].Err, &failed) || failed.Release != chartKey(changed) {
		t.Errorf("error %v", result.Features[Helm].Err)
	}
}

// A release that was uninstalled by an action of its chart obeys the chart's settings.
func TestUninstallActionObeysItsSettings(t *testing.T) {
	b := newBench(t)
	gone := chart("nginx", "1")
	gone.Uninstall, gone.Settings.Uninstall = true, release.UninstallSettings{DeletionPropagation: "orphan"}
	b.mustDeploy(Request{Revision: "web-1", Charts: ChartList{Charts: []Chart{gone}}})
	if diff := cmp.Diff([]release.UninstallSettings{{DeletionPropagation: "orphan"}}, b.charts.uninstalls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReleaseEntrySaysWhereItIsFrom(t *testing.T) {
	b := newBench(t)
	nginx := chart("nginx", "1")
	nginx.Ref.RepositoryName, nginx.PostRenderHash = "stable", "patches"
	nginx.Credentials = &inventory.SecretReference{Namespace: "civo", Name: "login"}
	result := b.mustDeploy(Request{Charts: ChartList{Charts: []Chart{nginx}}})
	entry := result.Record.Releases[0]
	if entry.RepositoryName != "stable" || entry.PatchesHash != "patches" || entry.Credentials == nil || entry.Credentials.Name != "login" || entry.Uninstall != nil {
		t.Errorf("entry %+v", entry)
	}
}
