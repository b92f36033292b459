// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rendering

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	"github.com/muster-project/muster/pkg/script"
)

// maxMessage bounds what is said of an error, in bytes: Helm quotes whole manifests.
const maxMessage = 4 << 10

// Program is what a worker needs to render charts.
func Program() script.Program {
	return script.Program{Name: programName, Run: run}
}

// run answers a request.
func run(input [][]byte) []byte {
	enc, dec, err := encoding()
	if err != nil {
		return nil // which is no answer
	}
	var answer workerAnswer
	var request workerRequest
	if len(input) < 2 || dec.Unmarshal(input[0], &request) != nil {
		answer.Error = "the worker was asked for something else"
	} else {
		answer = request.render(input[1:])
	}
	output, err := enc.Marshal(answer)
	if err != nil {
		return nil
	}
	return output
}

func (q *workerRequest) render(archives [][]byte) (answer workerAnswer) {
	defer func() {
		if reason := recover(); reason != nil {
			answer.Error = fmt.Sprintf("rendering template failed: %v", reason)
		}
		answer.Error = shorten(answer.Error)
	}()
	// Helm logs what it does not like in a chart; the standard error of a worker is for
	// its death.
	log.SetOutput(io.Discard)
	files, known, missing, err := q.files(archives)
	answer = workerAnswer{Files: files, Facts: known, Missing: missing}
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}

// shorten keeps the ends of a long message: at the first is where the error was, at the
// other what it was, and between them every template that was included on the way.
func shorten(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage/4]+" … "+message[len(message)-maxMessage/4:], "")
}

// files renders as an installation by Helm does.
func (q *workerRequest) files(archives [][]byte) (map[string]string, facts, []Query, error) {
	parsed, err := load(archives)
	if err != nil {
		return nil, facts{}, nil, err
	}
	values := q.Values
	if values == nil {
		values = map[string]any{}
	}
	if err := chartutil.ProcessDependenciesWithMerge(parsed, values); err != nil {
		return nil, facts{}, nil, err
	}
	capabilities := q.Capabilities.helm()
	if wanted := parsed.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, capabilities.KubeVersion.String()) {
		return nil, facts{}, nil, fmt.Errorf("chart requires kubeVersion: %s which is incompatible with Kubernetes %s", wanted, capabilities.KubeVersion.String())
	}
	keepSchemasLocal(parsed)
	given, err := chartutil.ToRenderValuesWithSchemaValidation(parsed, values, chartutil.ReleaseOptions{
		Name: q.Release.Name, Namespace: q.Release.Namespace, Revision: q.Release.Revision,
		IsUpgrade: q.Release.Upgrade, IsInstall: !q.Release.Upgrade,
	}, capabilities, q.SkipSchema)
	if err != nil {
		return nil, facts{}, nil, err
	}
	// Before it is rendered: that writes to the values.
	known := factsOf(parsed, given["Values"])
	cluster := &lookups{found: q.Found}
	files, err := engine.RenderWithClientProvider(parsed, given, cluster)
	known.Own = known.Own || cluster.asked
	return files, known, cluster.missing, err
}

// load reads a chart, and those that it depends on and does not hold.
func load(archives [][]byte) (*chart.Chart, error) {
	var whole *chart.Chart
	for _, archive := range archives {
		parsed, err := loader.LoadArchive(bytes.NewReader(archive))
		if err != nil {
			return nil, fmt.Errorf("not a chart archive: %w", err)
		}
		if whole == nil {
			whole = parsed
		} else {
			whole.AddDependency(parsed)
		}
	}
	return whole, nil
}

func (c Capabilities) helm() *chartutil.Capabilities {
	return &chartutil.Capabilities{
		KubeVersion: chartutil.KubeVersion{Version: c.Version, Major: c.Major, Minor: c.Minor},
		APIVersions: chartutil.VersionSet(c.APIVersions),
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}
}

// charts returns a chart and all below it.
func charts(root *chart.Chart) []*chart.Chart {
	all := []*chart.Chart{root}
	for _, below := range root.Dependencies() {
		all = append(all, charts(below)...)
	}
	return all
}
