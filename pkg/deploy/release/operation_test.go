// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/kube"
	kubefake "helm.sh/helm/v3/pkg/kube/fake"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
)

// helmBench is Helm without a cluster: its storage is in memory, and its client
// only prints. What it does to a real cluster is shown by the end-to-end tests.
type helmBench struct {
	t       testing.TB
	manager *Manager
	storage *driver.Memory
	log     bytes.Buffer
	// fail is the error of the client's writes.
	fail    error
	remains fakeRemains
	// lose makes the storage drop the last update, as a closed gate would.
	lose bool
}

// failingClient prints, or fails.
type failingClient struct {
	kubefake.PrintingKubeClient
	bench *helmBench
}

func (c *failingClient) Build(reader io.Reader, _ bool) (kube.ResourceList, error) {
	data, err := io.ReadAll(reader)
	if strings.Contains(string(data), "kind: Nonsense") {
		return nil, &templateError{"nginx/templates/garbage.yaml", errors.New(`no matches for kind "Nonsense"`)}
	}
	return nil, err
}

func (c *failingClient) WatchUntilReady(kube.ResourceList, time.Duration) error { return c.bench.fail }

// losingDriver loses updates that say that a revision is deployed.
type losingDriver struct {
	driver.Driver
	bench *helmBench
}

// Create stores a copy: the driver in memory would see later changes of the
// release without being told.
func (d *losingDriver) Create(key string, r *helmrelease.Release) error {
	stored, info := *r, *r.Info
	stored.Info = &info
	return d.Driver.Create(key, &stored)
}

func (d *losingDriver) Update(key string, r *helmrelease.Release) error {
	if d.bench.lose && r.Info.Status == helmrelease.StatusDeployed {
		return errors.New("not the leader any more")
	}
	return d.Driver.Update(key, r)
}

func newHelmBench(t testing.TB) *helmBench {
	t.Helper()
	b := &helmBench{t: t, manager: NewManager(Options{}), storage: driver.NewMemory()}
	b.manager.begin = func(_ context.Context, _ Cluster, namespace string, sensitive []string) (*operation, error) {
		b.storage.SetNamespace(namespace)
		return &operation{
			helm: &action.Configuration{
				Releases:     storage.Init(&losingDriver{b.storage, b}),
				KubeClient:   &failingClient{kubefake.PrintingKubeClient{Out: io.Discard, LogOutput: io.Discard}, b},
				Capabilities: chartutil.DefaultCapabilities,
				Log:          func(format string, args ...any) { fmt.Fprintf(&b.log, format+"\n", args...) },
			},
			deleteErrors: func() []error { return nil },
			remains:      &b.remains,
		}, nil
	}
	return b
}

func (b *helmBench) chart(version string, more ...string) *Chart {
	b.t.Helper()
	c, err := newChart(pack(b.t, "nginx", files("nginx", version, more...)), ChartRef{RepositoryURL: "https://charts.example", ChartName: "nginx", Version: version})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *helmBench) deploy(c *Chart, values map[string]any) (Outcome, error) {
	b.t.Helper()
	return b.manager.Deploy(context.Background(), Cluster{Name: "civo/cluster1"}, Release{Namespace: "apps", Name: "web", Chart: c, Values: values})
}

func (b *helmBench) mustDeploy(c *Chart, values map[string]any) Outcome {
	b.t.Helper()
	outcome, err := b.deploy(c, values)
	if err != nil {
		b.t.Fatal(err)
	}
	return outcome
}

// history describes the revisions.
func (b *helmBench) history() []string {
	b.t.Helper()
	b.storage.SetNamespace("apps")
	releases, err := readHistory(storage.Init(b.storage), "web")
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, r := range releases {
		out = append(out, fmt.Sprintf("%d %s %s", r.Version, r.Chart.Metadata.Version, r.Info.Status))
	}
	return out
}

// leave stores a revision as a killed process would have left it.
func (b *helmBench) leave(number int, status helmrelease.Status, version string) {
	b.t.Helper()
	r := revision(number, status, version)
	r.Namespace, r.Manifest = "apps", ""
	b.storage.SetNamespace("apps")
	if err := storage.Init(b.storage).Create(r); err != nil {
		b.t.Fatal(err)
	}
}

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
	uninstall := func() error { return b.manager.Uninstall(context.Background(), Cluster{}, "apps", "web") }
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
