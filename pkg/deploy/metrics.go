// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var passed = metrics.NewCounterVec(&metrics.CounterOpts{
	Namespace:      "muster",
	Subsystem:      "deploy",
	Name:           "objects_total",
	Help:           "Objects of passes over a profile on a cluster, by outcome: applied, or unchanged, of which the cluster was not asked.",
	StabilityLevel: metrics.ALPHA,
}, []string{"outcome"})

// RegisterMetrics makes this package's metrics visible. It may be called more than once.
func RegisterMetrics() {
	_ = legacyregistry.Register(passed) // fails where it is registered already
}

// count counts the objects of a pass. Releases are counted by nobody.
func count(p plan, result Result) {
	unchanged, applied := 0, 0
	for _, s := range p.objects {
		if s.verdict == verdictKeep {
			unchanged++
		}
	}
	for _, feature := range []Feature{Resources, Kustomize} {
		applied += result.Features[feature].Applied
	}
	passed.WithLabelValues("unchanged").Add(float64(unchanged))
	passed.WithLabelValues("applied").Add(float64(applied))
}
