// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/muster-project/muster/pkg/deploy/release"
)

func TestDeployReleases(t *testing.T) {
	b := newBench(t)
	ordered := func(names ...string) Request {
		r := Request{Revision: "web-1"}
		for _, name := range names {
			r.Charts.Charts = append(r.Charts.Charts, chart(name, "1.0.0"))
		}
		return r
	}
	b.mustDeploy(ordered("one", "two"))
	if diff := cmp.Diff([]string{"load one", "deploy one", "load two", "deploy two"}, b.charts.take()); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	b.mustDeploy(ordered("two", "one"))
	if diff := cmp.Diff([]string{"load two", "deploy two", "load one", "deploy one"}, b.charts.take()); diff != "" {
		t.Errorf("reordered (-want +got):\n%s", diff)
	}
	changed := ordered("two", "one")
	changed.Charts.Charts[1].Values = map[string]any{"replicas": 2}
	b.mustDeploy(changed)
	if diff := cmp.Diff([]string{"load one", "deploy one"}, b.charts.take()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}

	b.charts.fail["deploy three"] = errors.New("timed out")
	result := b.deploy(ordered("two", "three", "four"))
	if diff := cmp.Diff([]string{"load three", "deploy three"}, b.charts.take()); diff != "" {
		t.Errorf("stop at the first failure (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"release apps/two", "release apps/three", "release apps/one"}, keys(result.Record)); diff != "" {
		t.Errorf("inventory after a failure (-want +got):\n%s", diff)
	}
	delete(b.charts.fail, "deploy three")
	result = b.mustDeploy(ordered("two", "three", "four"))
	if diff := cmp.Diff([]string{"load three", "deploy three", "load four", "deploy four", "uninstall one"}, b.charts.take()); diff != "" {
		t.Errorf("then (-want +got):\n%s", diff)
	}
	if entry := result.Record.Releases[0]; entry.Chart != "two" || entry.Version != "1.0.0" || entry.RepoURL != "https://charts.example" || entry.LastAppliedTime.IsZero() {
		t.Errorf("entry %+v", entry)
	}
}

func TestDeployUninstallsOnRequest(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Revision: "web-1", Charts: ChartList{Charts: []Chart{chart("one", "1")}}})
	b.charts.take()
	gone := chart("one", "1")
	gone.Uninstall = true
	request := Request{Revision: "web-2", Charts: ChartList{Charts: []Chart{gone}}}

	b.charts.fail["uninstall one"] = errors.New("a hook failed")
	if result := b.deploy(request); result.OK() || len(result.Record.Releases) != 1 {
		t.Errorf("a failed uninstall: %v, %v", result.Features, keys(result.Record))
	}
	b.charts.take()
	delete(b.charts.fail, "uninstall one")
	if result := b.mustDeploy(request); len(result.Record.Releases) != 0 {
		t.Errorf("inventory %v", keys(result.Record))
	}
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"uninstall one"}, b.charts.take()); diff != "" {
		t.Errorf("once for each revision (-want +got):\n%s", diff)
	}
	request.Revision = "web-3"
	b.mustDeploy(request)
	if diff := cmp.Diff([]string{"uninstall one"}, b.charts.take()); diff != "" {
		t.Errorf("a new revision (-want +got):\n%s", diff)
	}
}

func TestDeployPassesChartErrorsOn(t *testing.T) {
	b := newBench(t)
	b.charts.fail["load nginx"] = &release.ChartError{Reason: release.NotFound, Chart: "nginx", Err: errors.New("no such version")}
	result := b.deploy(Request{Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
	var chartErr *release.ChartError
	if !errors.As(result.Features[Helm].Err, &chartErr) || chartErr.Reason != release.NotFound {
		t.Errorf("error %v", result.Features[Helm].Err)
	}
	if len(b.shelf.values) > 0 {
		t.Error("a release whose chart was never found is in the inventory")
	}
}

func TestDeployRunsListsBesideEachOther(t *testing.T) {
	b := newBench(t)
	// The chart waits for what the manifests bring, as a hook Job would.
	applied := make(chan struct{})
	b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
		if req.Method == http.MethodPatch {
			close(applied)
		}
		return nil
	}
	b.charts.hook = func(call string) {
		if call == "deploy nginx" {
			<-applied
		}
	}
	b.mustDeploy(Request{Objects: resources(configMap(t, "a", "1")), Charts: ChartList{Charts: []Chart{chart("nginx", "1")}}})
}

// What another profile has is never deleted: two that disagree would install and uninstall
// it in turn.
func TestDeployUninstallsNothingOfOthers(t *testing.T) {
	b := newBench(t)
	b.mustDeploy(Request{Charts: ChartList{Charts: []Chart{chart("one", "1")}}})
	b.charts.take()
	gone := chart("one", "1")
	gone.Uninstall = true
	result := b.deploy(Request{Owner: owner("cleaner", 1), Charts: ChartList{Charts: []Chart{gone}}})
	if conflict := conflictOf(result, Helm); conflict == nil || conflict.Temporary || !strings.Contains(conflict.Error(), "uninstalled for no other profile") {
		t.Errorf("result %v", result.Features)
	}
	if got := b.charts.take(); len(got) > 0 {
		t.Errorf("calls %v", got)
	}
	if got := keys(b.record(web)); len(got) != 1 {
		t.Errorf("its owner has %v", got)
	}
}
