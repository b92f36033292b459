// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/registry"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"
)

func startCharts(t *testing.T) *Charts {
	t.Helper()
	c, err := newCharts(reserveForTest(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return data
}

func load(t *testing.T, archive []byte) *chart.Chart {
	t.Helper()
	loaded, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestRepositoryServesWhatItsIndexNames(t *testing.T) {
	c := startCharts(t)
	var index repo.IndexFile
	if err := yaml.Unmarshal(fetch(t, c.URL()+"index.yaml"), &index); err != nil {
		t.Fatal(err)
	}
	// The manifests write versions with a leading v.
	for _, version := range []string{"v3.3.3", "v3.0.1"} {
		found, err := index.Get("kyverno", version)
		if err != nil {
			t.Fatalf("kyverno %s: %v", version, err)
		}
		archive := fetch(t, c.URL()+found.URLs[0])
		if digestOf(archive) != found.Digest {
			t.Errorf("%s: its digest is not the index's", version)
		}
		if got := load(t, archive).Metadata.Version; "v"+got != version {
			t.Errorf("%s holds version %s", found.URLs[0], got)
		}
	}
}

func TestRegistryServesTheSameCharts(t *testing.T) {
	c := startCharts(t)
	client, err := registry.NewClient(registry.ClientOptPlainHTTP(), registry.ClientOptWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	reference := strings.TrimPrefix(c.OCI("kyverno"), "oci://")
	tags, err := client.Tags(reference)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tags, " "); got != "3.3.3 3.0.1" {
		t.Errorf("tags %q", got)
	}
	for _, tag := range tags {
		pulled, err := client.Pull(reference + ":" + tag)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pulled.Chart.Data, fetch(t, c.URL()+"kyverno-"+tag+".tgz")) {
			t.Errorf("%s: not the chart that the repository serves", tag)
		}
	}
	if _, err := client.Pull(reference + ":9.9.9"); err == nil {
		t.Error("a version that does not exist could be pulled")
	}
}

// What makes the stand-in stand for the public chart: CRDs and objects of
// them, a hook that is no Job, many templates.
func TestStandInHasThePublicChartsShape(t *testing.T) {
	c := startCharts(t)
	manifests := map[string]int{}
	for _, version := range []string{"3.3.3", "3.0.1"} {
		t.Run(version, func(t *testing.T) {
			loaded := load(t, fetch(t, c.URL()+"kyverno-"+version+".tgz"))
			defined := map[string]bool{}
			for _, crd := range loaded.CRDObjects() {
				var definition struct {
					Spec struct{ Names struct{ Kind string } }
				}
				if err := yaml.Unmarshal(crd.File.Data, &definition); err != nil {
					t.Fatal(err)
				}
				defined[definition.Spec.Names.Kind] = true
			}
			if len(defined) < 3 {
				t.Errorf("%d CRDs, want 3 or more", len(defined))
			}
			hooks, objects := render(t, loaded)
			manifests[version] = len(objects)
			if len(objects) < 20 {
				t.Errorf("%d objects, want 20 or more", len(objects))
			}
			custom := map[string]bool{}
			for _, object := range objects {
				if kind := object.Head.Kind; defined[kind] {
					custom[kind] = true
				}
			}
			if len(custom) < 3 {
				t.Errorf("objects of the CRDs %v, want 3 kinds or more", custom)
			}
			if len(hooks) == 0 || hooks[0].Kind == "Job" {
				t.Errorf("hooks %v, want one that is no Job", hooks)
			}
		})
	}
	if manifests["3.3.3"] <= manifests["3.0.1"] {
		t.Errorf("objects by version %v: an upgrade would add nothing", manifests)
	}
}

type hook struct{ Name, Kind string }

func render(t *testing.T, loaded *chart.Chart) ([]hook, []releaseutil.Manifest) {
	t.Helper()
	options := chartutil.ReleaseOptions{Name: "kyverno-latest", Namespace: "kyverno", Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(loaded, nil, options, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(loaded, values)
	if err != nil {
		t.Fatal(err)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	found, objects, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		t.Fatal(err)
	}
	var hooks []hook
	for _, h := range found {
		hooks = append(hooks, hook{h.Name, h.Kind})
	}
	return hooks, objects
}
