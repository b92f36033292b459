// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
)

func TestDeployInstallsUpgradesAndLeavesAlone(t *testing.T) {
	b := newHelmBench(t)
	first := b.mustDeploy(b.chart("1.1.0"), nil)
	emptyHash, _ := hashValues(nil)
	want := Outcome{Action: Installed, Revision: 1, Chart: "nginx", Version: "1.1.0", AppVersion: "app-1.1.0", Icon: "https://example.com/icon.png", ValuesHash: emptyHash}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	steps := []struct {
		name    string
		version string
		values  map[string]any
		want    Action
		history []string
	}{
		{"the same", "1.1.0", nil, Unchanged, []string{"1 1.1.0 deployed"}},
		{"empty values", "1.1.0", map[string]any{}, Unchanged, []string{"1 1.1.0 deployed"}},
		{"values", "1.1.0", map[string]any{"replicas": 3}, Upgraded, []string{"1 1.1.0 superseded", "2 1.1.0 deployed"}},
		{"the same values, otherwise typed", "1.1.0", map[string]any{"replicas": float64(3)}, Unchanged, []string{"1 1.1.0 superseded", "2 1.1.0 deployed"}},
		{"a newer version", "1.2.0", map[string]any{"replicas": 3}, Upgraded, []string{"2 1.1.0 superseded", "3 1.2.0 deployed"}},
		{"an older version, no values", "1.0.0", nil, Upgraded, []string{"3 1.2.0 superseded", "4 1.0.0 deployed"}},
	}
	for _, step := range steps {
		outcome := b.mustDeploy(b.chart(step.version), step.values)
		if outcome.Action != step.want {
			t.Errorf("%s: %s", step.name, outcome.Action)
		}
		if diff := cmp.Diff(step.history, b.history()); diff != "" {
			t.Errorf("%s: history (-want +got):\n%s", step.name, diff)
		}
	}
	// Values of an earlier revision do not linger.
	b.storage.SetNamespace("apps")
	last, err := storage.Init(b.storage).Last("web")
	if err != nil || len(last.Config) > 0 || !strings.Contains(last.Manifest, `replicas: "1"`) {
		t.Errorf("values %v, manifest %s, %v", last.Config, last.Manifest, err)
	}
}

func TestDeployRepairs(t *testing.T) {
	tests := map[string]struct {
		left    func(*helmBench)
		want    Action
		history []string
	}{
		"an install left pending": {
			func(b *helmBench) { b.leave(1, helmrelease.StatusPendingInstall, "1.2.0") },
			Installed, []string{"1 1.2.0 failed", "2 1.2.0 deployed"},
		},
		"an install of another version left pending": {
			func(b *helmBench) { b.leave(1, helmrelease.StatusPendingInstall, "1.1.0") },
			Installed, []string{"1 1.2.0 deployed"},
		},
		"a failed install": {
			func(b *helmBench) { b.leave(1, helmrelease.StatusFailed, "1.2.0") },
			Installed, []string{"1 1.2.0 failed", "2 1.2.0 deployed"},
		},
		"an upgrade left pending": {
			func(b *helmBench) {
				b.leave(1, helmrelease.StatusDeployed, "1.1.0")
				b.leave(2, helmrelease.StatusPendingUpgrade, "1.2.0")
			},
			Upgraded, []string{"1 1.1.0 superseded", "3 1.2.0 deployed"},
		},
		"an upgrade left between its last two writes": {
			func(b *helmBench) {
				b.leave(1, helmrelease.StatusSuperseded, "1.1.0")
				b.leave(2, helmrelease.StatusPendingUpgrade, "1.2.0")
			},
			Upgraded, []string{"2 1.2.0 superseded", "3 1.2.0 deployed"},
		},
		"a failed upgrade": {
			func(b *helmBench) {
				b.leave(1, helmrelease.StatusDeployed, "1.1.0")
				b.leave(2, helmrelease.StatusFailed, "1.2.0")
			},
			Upgraded, []string{"1 1.1.0 superseded", "3 1.2.0 deployed"},
		},
		"an uninstall left half done": {
			func(b *helmBench) { b.leave(1, helmrelease.StatusUninstalling, "1.2.0") },
			Installed, []string{"1 1.2.0 deployed"},
		},
		"uninstalled with its history": {
			func(b *helmBench) { b.leave(1, helmrelease.StatusUninstalled, "1.2.0") },
			Installed, []string{"1 1.2.0 superseded", "2 1.2.0 deployed"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newHelmBench(t)
			tc.left(b)
			if outcome := b.mustDeploy(b.chart("1.2.0"), nil); outcome.Action != tc.want {
				t.Errorf("did %s", outcome.Action)
			}
			if diff := cmp.Diff(tc.history, b.history()); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if outcome := b.mustDeploy(b.chart("1.2.0"), nil); outcome.Action != Unchanged {
				t.Errorf("and then %s", outcome.Action)
			}
		})
	}
}

func TestDeployErrorsOfTheChart(t *testing.T) {
	tests := map[string]struct {
		files    []string
		values   map[string]any
		template string
		want     string
	}{
		"a template that fails":      {[]string{"templates/bad.yaml", "{{ fail \"as asked\" }}"}, nil, "nginx/templates/bad.yaml", "as asked"},
		"a template that is none":    {[]string{"templates/bad.yaml", "{{ if }}"}, nil, "nginx/templates/bad.yaml", "missing value"},
		"a function that is unknown": {[]string{"templates/bad.yaml", "{{ exec \"sh\" }}"}, nil, "nginx/templates/bad.yaml", "exec"},
		"no YAML":                    {[]string{"templates/bad.yaml", "a: [\n"}, nil, "nginx/templates/bad.yaml", "YAML"},
		"an object of no kind":       {[]string{"templates/garbage.yaml", "apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n"}, nil, "nginx/templates/garbage.yaml", "Nonsense"},
		"values against the schema":  {[]string{"values.schema.json", `{"type":"object","properties":{"replicas":{"type":"integer"}}}`}, map[string]any{"replicas": "many"}, "", "replicas"},
		"another Kubernetes":         {[]string{"Chart.yaml", "apiVersion: v2\nname: nginx\nversion: 1.1.0\nkubeVersion: '<1.5'\n"}, nil, "", "kubeVersion"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newHelmBench(t)
			_, err := b.deploy(b.chart("1.1.0", tc.files...), tc.values)
			got := chartError(t, err)
			if got.Reason != Render || got.Template != tc.template || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, template %q: %v", got.Reason, got.Template, err)
			}
			if !strings.Contains(err.Error(), "chart nginx 1.1.0 from https://charts.example") {
				t.Errorf("the error does not name the chart: %v", err)
			}
			if got := b.history(); len(got) > 0 {
				t.Errorf("half deployed: %v", got)
			}
		})
	}
}

func TestDeployErrorsOfTheClusterAreNotTheCharts(t *testing.T) {
	b := newHelmBench(t)
	b.fail = errors.New("the Job failed: BackoffLimitExceeded")
	hook := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: pre-install}}\n"
	_, err := b.deploy(b.chart("1.1.0", "templates/hook.yaml", hook), nil)
	var chartErr *ChartError
	if err == nil || errors.As(err, &chartErr) || !strings.Contains(err.Error(), "BackoffLimitExceeded") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"1 1.1.0 failed"}, b.history()); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestDeployMasksSensitiveValues(t *testing.T) {
	b := newHelmBench(t)
	release := Release{
		Namespace: "apps", Name: "web", Chart: b.chart("1.1.0", "templates/bad.yaml", "{{ fail (printf \"bad password %s\" .Values.password) }}"),
		Values: map[string]any{"password": "hunter22"}, Sensitive: []string{"hunter22"},
	}
	_, err := b.manager.Deploy(context.Background(), Cluster{}, release)
	if err == nil || strings.Contains(err.Error(), "hunter22") || !strings.Contains(err.Error(), "bad password ***") {
		t.Errorf("error %v", err)
	}
	chartError(t, err)
}

func TestDeployBoundsWhatAChartMakesItSay(t *testing.T) {
	b := newHelmBench(t)
	_, err := b.deploy(b.chart("1.1.0", "templates/bad.yaml", "{{ fail (repeat 100000 \"é\") }}"), nil)
	if err == nil || len(err.Error()) > maxMessage+300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestDeployIsNotDoneUntilItIsRecorded(t *testing.T) {
	b := newHelmBench(t)
	b.lose = true
	if outcome, err := b.deploy(b.chart("1.1.0"), nil); err == nil || !strings.Contains(err.Error(), "not recorded") {
		t.Errorf("%+v, %v", outcome, err)
	}
	b.lose = false
	b.mustDeploy(b.chart("1.1.0"), nil)
}

func TestDeployDoesNotWriteToValuesOrChart(t *testing.T) {
	b := newHelmBench(t)
	values := map[string]any{"nested": map[string]any{"a": "x"}}
	c := b.chart("1.1.0", "values.yaml", "nested: {b: y}\n")
	b.mustDeploy(c, values)
	if diff := cmp.Diff(map[string]any{"nested": map[string]any{"a": "x"}}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if digestOf(c.archive) != c.Digest {
		t.Error("the archive was written to")
	}
}

func TestDeployInterrupted(t *testing.T) {
	b := newHelmBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := b.manager.Deploy(ctx, Cluster{}, Release{Namespace: "apps", Name: "web", Chart: b.chart("1.1.0")})
	var chartErr *ChartError
	if !errors.Is(err, context.Canceled) || errors.As(err, &chartErr) {
		t.Errorf("error %v", err)
	}
}

func TestUninstall(t *testing.T) {
	b := newHelmBench(t)
	uninstall := func() error {
		return b.manager.Uninstall(context.Background(), Cluster{}, "apps", "web", UninstallSettings{})
	}
	if err := uninstall(); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	b.mustDeploy(b.chart("1.1.0"), nil)
	b.mustDeploy(b.chart("1.2.0"), nil)
	if err := uninstall(); err != nil {
		t.Fatal(err)
	}
	if got := b.history(); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	b.leave(1, helmrelease.StatusPendingUpgrade, "1.2.0")
	if err := uninstall(); err != nil || len(b.history()) > 0 {
		t.Errorf("what was left pending: %v, %v", b.history(), err)
	}
}

func TestReleasesAreInOneNamespace(t *testing.T) {
	b := newHelmBench(t)
	c := b.chart("1.1.0")
	for _, namespace := range []string{"one", "two"} {
		outcome, err := b.manager.Deploy(context.Background(), Cluster{}, Release{Namespace: namespace, Name: "web", Chart: c})
		if err != nil || outcome.Action != Installed {
			t.Errorf("%s: %v, %v", namespace, outcome.Action, err)
		}
	}
}

func TestTemplateName(t *testing.T) {
	names := map[string]string{
		`execution error at (nginx/templates/bad.yaml:1:3): as asked`:                                   "nginx/templates/bad.yaml",
		`template: nginx/templates/bad.yaml:1:3: executing "x" at <y>: z`:                               "nginx/templates/bad.yaml",
		`YAML parse error on nginx/charts/redis/templates/bad.yaml: error converting YAML to JSON: ...`: "nginx/charts/redis/templates/bad.yaml",
		`parse error at (nginx/templates/bad.yaml:1): missing value for if`:                             "nginx/templates/bad.yaml",
		`something else`: "",
	}
	for message, want := range names {
		if got := templateName(message); got != want {
			t.Errorf("%s: %q", message, got)
		}
	}
}

// Half a secret is no secret that is known.
func TestDeployMasksBeforeItCuts(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	b := newHelmBench(t)
	for _, before := range []int{maxMessage - 120, maxMessage - 100, maxMessage - 80, maxMessage - 60, maxMessage - 40, maxMessage - 20} {
		failing := b.chart("1.0.0", "templates/config.yaml", fmt.Sprintf(`{{ fail (print (repeat %d "x") .Values.password) }}`, before))
		_, err := b.manager.Deploy(t.Context(), Cluster{Name: "civo/cluster1"}, Release{
			Namespace: "apps", Name: "web", Chart: failing, Values: map[string]any{"password": secret}, Sensitive: []string{secret},
		})
		if err == nil || strings.Contains(err.Error(), secret[:5]) {
			t.Errorf("with %d bytes before it: %v", before, err)
		}
	}
}
