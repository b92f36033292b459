// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gather serves the metrics of a process in which several libraries
// have a Prometheus registry of their own.
package gather

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Handler serves the metrics of several registries as if they were one.
func Handler(gatherers ...prometheus.Gatherer) http.Handler {
	return promhttp.InstrumentMetricHandler(prometheus.DefaultRegisterer,
		promhttp.HandlerFor(merged(gatherers), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
}

// merged gathers from several registries as if they were one. Where two have
// the same series, which is so for go_* and process_* and for the metrics of
// client-go, the first one counts. prometheus.Gatherers would fail instead.
type merged []prometheus.Gatherer

// Gather returns the families of all registries, sorted by name.
func (m merged) Gather() ([]*dto.MetricFamily, error) {
	var errs []error
	byName := map[string]*dto.MetricFamily{}
	for _, gatherer := range m {
		families, err := gatherer.Gather()
		// A registry that fails in part has gathered the rest.
		errs = append(errs, err)
		for _, family := range families {
			if known := byName[family.GetName()]; known != nil {
				addMissing(known, family)
				continue
			}
			byName[family.GetName()] = family
		}
	}
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, family := range byName {
		families = append(families, family)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, errors.Join(errs...)
}

// addMissing adds to known the series of family that it does not have. A
// family of another type cannot be merged, and is left out.
func addMissing(known, family *dto.MetricFamily) {
	if known.GetType() != family.GetType() {
		return
	}
	seen := map[string]bool{}
	for _, metric := range known.GetMetric() {
		seen[series(metric)] = true
	}
	for _, metric := range family.GetMetric() {
		if !seen[series(metric)] {
			known.Metric = append(known.Metric, metric)
		}
	}
}

// series identifies a metric within its family. Labels come sorted by name
// from every registry.
func series(metric *dto.Metric) string {
	var b strings.Builder
	for _, label := range metric.GetLabel() {
		b.WriteString(label.GetName())
		b.WriteByte(0)
		b.WriteString(label.GetValue())
		b.WriteByte(0)
	}
	return b.String()
}
