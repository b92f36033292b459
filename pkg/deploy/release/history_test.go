// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/json"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"pgregory.net/rapid"
)

// wanted is nginx 1.2.0 without values.
var wanted = target{chart: "nginx", version: "1.2.0", valuesHash: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}

// revision is one that is as wanted, or of another version.
func revision(number int, status helmrelease.Status, version string) *helmrelease.Release {
	return &helmrelease.Release{
		Name: "web", Version: number, Info: &helmrelease.Info{Status: status},
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "nginx", Version: version}},
	}
}

func TestDecide(t *testing.T) {
	const same, other = "1.2.0", "1.1.0"
	type history = []*helmrelease.Release
	tests := map[string]struct {
		history history
		want    step
		abandon bool
		// recoverAfter is zero where nothing is said of it.
		recoverAfter int
	}{
		"none":                    {nil, stepInstall, false, 0},
		"as wanted":               {history{revision(1, helmrelease.StatusDeployed, same)}, stepNone, false, 0},
		"another version":         {history{revision(1, helmrelease.StatusDeployed, other)}, stepUpgrade, false, 0},
		"uninstalled, kept":       {history{revision(1, helmrelease.StatusUninstalled, same)}, stepInstall, false, 0},
		"half uninstalled":        {history{revision(1, helmrelease.StatusUninstalling, same)}, stepReinstall, false, 0},
		"a failed upgrade":        {history{revision(1, helmrelease.StatusDeployed, other), revision(2, helmrelease.StatusFailed, same)}, stepUpgrade, false, 0},
		"an upgrade left pending": {history{revision(1, helmrelease.StatusDeployed, other), revision(2, helmrelease.StatusPendingUpgrade, same)}, stepUpgrade, true, 0},
		"died between marking one as superseded and the other as deployed": {
			history{revision(1, helmrelease.StatusSuperseded, other), revision(2, helmrelease.StatusPendingUpgrade, same)}, stepUpgrade, true, 0},
		"a rollback left pending":                {history{revision(1, helmrelease.StatusSuperseded, other), revision(2, helmrelease.StatusDeployed, other), revision(3, helmrelease.StatusPendingRollback, other)}, stepUpgrade, true, 0},
		"a failed install":                       {history{revision(1, helmrelease.StatusFailed, same)}, stepInstall, false, 0},
		"a failed install of another version":    {history{revision(1, helmrelease.StatusFailed, other)}, stepReinstall, false, 0},
		"an install left pending":                {history{revision(1, helmrelease.StatusPendingInstall, same)}, stepInstall, true, 0},
		"an install of another one left pending": {history{revision(1, helmrelease.StatusPendingInstall, other)}, stepReinstall, false, 0},
		"fewer failures than allowed":            {history{revision(1, helmrelease.StatusFailed, same), revision(2, helmrelease.StatusFailed, same)}, stepInstall, false, 3},
		"as many failures as allowed":            {history{revision(1, helmrelease.StatusFailed, same), revision(3, helmrelease.StatusPendingInstall, same)}, stepReinstall, false, 3},
		"failures since it was uninstalled":      {history{revision(7, helmrelease.StatusUninstalled, same), revision(9, helmrelease.StatusFailed, same)}, stepInstall, false, 3},
		"what worked is never uninstalled":       {history{revision(1, helmrelease.StatusDeployed, other), revision(9, helmrelease.StatusFailed, same)}, stepUpgrade, false, 3},
		"two failed installs":                    {history{revision(1, helmrelease.StatusFailed, same), revision(2, helmrelease.StatusPendingInstall, same)}, stepInstall, true, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, abandon := decide(tc.history, wanted, tc.recoverAfter); got != tc.want || abandon != tc.abandon {
				t.Errorf("got %s, abandon %v", got, abandon)
			}
		})
	}
}

func TestDecideNeverTrustsWhatIsNotDeployed(t *testing.T) {
	statuses := []helmrelease.Status{
		helmrelease.StatusDeployed, helmrelease.StatusSuperseded, helmrelease.StatusFailed, helmrelease.StatusUninstalled,
		helmrelease.StatusUninstalling, helmrelease.StatusPendingInstall, helmrelease.StatusPendingUpgrade, helmrelease.StatusPendingRollback,
	}
	rapid.Check(t, func(rt *rapid.T) {
		var history []*helmrelease.Release
		for i := range rapid.IntRange(0, 4).Draw(rt, "revisions") {
			history = append(history, revision(i+1, rapid.SampledFrom(statuses).Draw(rt, "status"), rapid.SampledFrom([]string{"1.2.0", "1.1.0"}).Draw(rt, "version")))
		}
		do, abandon := decide(history, wanted, 0)
		if do == stepNone {
			last := history[len(history)-1]
			if last.Info.Status != helmrelease.StatusDeployed || !wanted.isAt(last) {
				rt.Fatalf("nothing to do for %s", last.Info.Status)
			}
		}
		if abandon && !history[len(history)-1].Info.Status.IsPending() {
			rt.Fatal("abandons what is not pending")
		}
		if pending := len(history) > 0 && history[len(history)-1].Info.Status.IsPending(); pending && do != stepReinstall && !abandon {
			rt.Fatal("Helm would refuse: another operation is in progress")
		}
	})
}

func TestTargetComparesChartVersionAndValues(t *testing.T) {
	r := revision(1, helmrelease.StatusDeployed, "1.2.0")
	if !wanted.isAt(r) {
		t.Error("the same is another")
	}
	r.Config = map[string]any{"replicas": float64(2)}
	if wanted.isAt(r) {
		t.Error("other values are the same")
	}
	r.Config, r.Chart.Metadata.Name = nil, "apache"
	if wanted.isAt(r) {
		t.Error("another chart is the same")
	}
	r.Chart = nil
	if wanted.isAt(r) {
		t.Error("no chart is the same")
	}
}

// Values are compared with those of a release that went through JSON.
func TestHashValuesSurvivesStorage(t *testing.T) {
	value := rapid.Custom(func(rt *rapid.T) any {
		return rapid.OneOf(
			rapid.Just(any(nil)), rapid.Map(rapid.Bool(), toAny), rapid.Map(rapid.IntRange(-1e9, 1e9), toAny), rapid.Map(rapid.Int64(), toAny),
			rapid.Map(rapid.Float64Range(-1e6, 1e6), toAny), rapid.Map(rapid.String(), toAny),
			rapid.Map(rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 9), toAny), 0, 3), toAny),
		).Draw(rt, "value")
	})
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.MapOfN(rapid.String(), value, 0, 4).Draw(rt, "values")
		before, err := hashValues(values)
		if err != nil {
			rt.Fatal(err)
		}
		data, err := json.Marshal(values)
		if err != nil {
			rt.Fatal(err)
		}
		var stored map[string]any
		if err := json.Unmarshal(data, &stored); err != nil {
			rt.Fatal(err)
		}
		if after, err := hashValues(stored); err != nil || after != before {
			rt.Fatalf("%v: %s before, %s after, %v", values, before, after, err)
		}
	})
}

func toAny[T any](v T) any { return v }

func TestCopyValuesSharesNothing(t *testing.T) {
	original := map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": 1}}}}
	copied := copyValues(original)
	copied["a"].(map[string]any)["b"].([]any)[0].(map[string]any)["c"] = 2
	copied["d"] = 3
	if original["d"] != nil || original["a"].(map[string]any)["b"].([]any)[0].(map[string]any)["c"] != 1 {
		t.Errorf("the original was written to: %v", original)
	}
}
