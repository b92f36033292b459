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

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/kube"
	kubefake "helm.sh/helm/v3/pkg/kube/fake"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// definitions are the CRDs that were upgraded.
	definitions fakeDefinitions
	// calls are the client's waits, updates and deletions since the last take.
	calls []string
	// unready is the error of the client's waits.
	unready error
	// builds has the client make an object of each manifest.
	builds bool
	// lose makes the storage drop the last update, as a closed gate would.
	lose bool
}

func (b *helmBench) note(format string, args ...any) {
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
}

// take returns the calls since it was called last.
func (b *helmBench) take() []string {
	taken := b.calls
	b.calls = nil
	return taken
}

// fakeDefinitions notes which CRDs it was given.
type fakeDefinitions struct {
	former, crds []string
	timeout      time.Duration
	fail         error
}

func (f *fakeDefinitions) upgradeCRDs(former, crds []string, timeout time.Duration) error {
	f.former, f.crds, f.timeout = former, crds, timeout
	return f.fail
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
	if c.bench.builds {
		return kube.ResourceList{resourceOf(mapKind, "configmaps", "web", nil)}, err
	}
	return nil, err
}

func (c *failingClient) WatchUntilReady(_ kube.ResourceList, timeout time.Duration) error {
	c.bench.note("hook %s", timeout)
	return c.bench.fail
}

func (c *failingClient) Wait(_ kube.ResourceList, timeout time.Duration) error {
	c.bench.note("wait %s", timeout)
	return c.bench.unready
}

func (c *failingClient) WaitWithJobs(_ kube.ResourceList, timeout time.Duration) error {
	c.bench.note("wait with jobs %s", timeout)
	return c.bench.unready
}

func (c *failingClient) Update(_, modified kube.ResourceList, force bool) (*kube.Result, error) {
	c.bench.note("update force=%t", force)
	return &kube.Result{Created: kube.ResourceList{nil}, Updated: modified}, nil
}

func (c *failingClient) Delete(kube.ResourceList) (*kube.Result, []error) {
	c.bench.note("delete")
	return &kube.Result{}, nil
}

func (c *failingClient) DeleteWithPropagationPolicy(_ kube.ResourceList, policy metav1.DeletionPropagation) (*kube.Result, []error) {
	c.bench.note("delete %s", policy)
	return &kube.Result{}, nil
}

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
	b.manager.begin = func(_ context.Context, _ Cluster, release Release) (*operation, error) {
		b.storage.SetNamespace(release.Namespace)
		return &operation{
			helm: &action.Configuration{
				Releases:     storage.Init(&losingDriver{b.storage, b}),
				KubeClient:   &failingClient{kubefake.PrintingKubeClient{Out: io.Discard, LogOutput: io.Discard}, b},
				Capabilities: chartutil.DefaultCapabilities,
				Log:          func(format string, args ...any) { fmt.Fprintf(&b.log, format+"\n", args...) },
			},
			deleteErrors: func() []error { return nil },
			remains:      &b.remains,
			definitions:  &b.definitions,
			learn:        func(*chartutil.Capabilities) {},
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
