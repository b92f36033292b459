// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// releasesGoal is at least so many releases in a second.
	releasesGoal = 10
	// releasesEach is how many releases of one chart a profile has.
	releasesEach = 100
	// releasesPoll is how often to look whether all of them are there.
	releasesPoll = 100 * time.Millisecond
	// releasesName is the profile's, its cluster's namespace and that of the releases.
	releasesName = "g4"
)

// measureReleases is the part of G4 with charts: a profile that installs one chart many
// times on a real cluster, from the write of the profile until it is provisioned.
func measureReleases(ctx context.Context, b *bench, report func(*Measure)) error {
	server := httptest.NewServer(http.HandlerFunc(serveBenchChart))
	defer server.Close()
	options := fleet.Options{Name: "g4", Managed: []string{"cluster1"}}
	return b.withFleet(ctx, options, func(ctx context.Context, f *fleet.Fleet) error {
		if _, err := f.Kubectl(ctx, "create", "namespace", releasesName); err != nil {
			return err
		}
		if err := f.RegisterManaged(ctx, releasesName, "cluster1", map[string]string{"bench": releasesName}); err != nil {
			return err
		}
		config, err := f.Host.RESTConfig()
		if err != nil {
			return err
		}
		client, err := versioned.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("making a client of Muster: %w", err)
		}
		var rates []float64
		for run := range b.repeat(3) {
			rate, err := installReleases(ctx, f, client, server.URL)
			if err != nil {
				return fmt.Errorf("run %d: %w", run+1, err)
			}
			b.logf("G4: run %d: %.1f releases per second", run+1, rate)
			rates = append(rates, rate)
		}
		m := &Measure{Name: "G4"}
		report(m.Text("what", "helm").AtLeast("releases_per_s", median(rates), releasesGoal, 1).
			Number("min_per_s", slices.Min(rates), 1).Number("max_per_s", slices.Max(rates), 1).
			Number("releases", releasesEach, 0).Number("runs", float64(len(rates)), 0))
		return nil
	})
}

// installReleases installs all, and takes them away again.
func installReleases(ctx context.Context, f *fleet.Fleet, client versioned.Interface, repository string) (perSecond float64, err error) {
	var charts strings.Builder
	for i := range releasesEach {
		fmt.Fprintf(&charts, "  - {repositoryURL: %q, chartName: load, chartVersion: 1.0.0, releaseName: load-%d, releaseNamespace: %s}\n", repository, i, releasesName)
	}
	manifest := fmt.Sprintf("apiVersion: config.projectsveltos.io/v1beta1\nkind: ClusterProfile\nmetadata: {name: %s}\nspec:\n  clusterSelector: {matchLabels: {bench: %s}}\n  helmCharts:\n%s",
		releasesName, releasesName, &charts)
	began := time.Now()
	if _, err := f.Host.Kubectl().Input(ctx, manifest, "apply", "-f", "-"); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err = fleet.Await(ctx, func(ctx context.Context) error {
		// Each look costs the host and Muster a request, which must not be the load.
		if err := pause(ctx, releasesPoll); err != nil {
			return err
		}
		return isProvisioned(ctx, client)
	})
	if err != nil {
		return 0, err
	}
	perSecond = releasesEach / time.Since(began).Seconds()
	_, err = f.Kubectl(ctx, "delete", "clusterprofile", releasesName)
	return perSecond, err
}

func isProvisioned(ctx context.Context, client versioned.Interface) error {
	found, err := client.ConfigV1beta1().ClusterProfiles().Get(ctx, releasesName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ready := meta.FindStatusCondition(found.Status.Conditions, configv1beta1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != found.Generation {
		return fmt.Errorf("it is not provisioned: %+v", ready)
	}
	return nil
}

// serveBenchChart serves a repository with one chart.
func serveBenchChart(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/index.yaml":
		_, _ = w.Write([]byte("apiVersion: v1\nentries:\n  load:\n  - {apiVersion: v2, name: load, version: 1.0.0, urls: [load-1.0.0.tgz]}\n"))
	case "/load-1.0.0.tgz":
		_, _ = w.Write(benchChart())
	default:
		http.NotFound(w, r)
	}
}

// benchChart is a chart of ten templates that make five objects.
func benchChart() []byte {
	files := map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: load\nversion: 1.0.0\n",
		"values.yaml": "enabled: true\nsize: 3\n",
	}
	for i := range 5 {
		files[fmt.Sprintf("templates/_part%d.tpl", i)] = fmt.Sprintf("{{ define \"load.part%d\" }}{{ .Release.Name }}-{{ .Values.size }}{{ end }}", i)
		files[fmt.Sprintf("templates/object%d.yaml", i)] = fmt.Sprintf("{{ if .Values.enabled }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-%[1]d}\ndata: {part: {{ include \"load.part%[1]d\" . | quote }}}\n{{ end }}\n", i)
	}
	return packChart(files)
}
