// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var repairs = metrics.NewCounterVec(&metrics.CounterOpts{
	Namespace:      "muster",
	Subsystem:      "drift",
	Name:           "repairs_total",
	Help:           "Deployed objects that others have changed or deleted and that were applied again, by feature: Resources, Helm, Kustomize.",
	StabilityLevel: metrics.ALPHA,
}, []string{"feature"})

// RegisterMetrics makes this package's metrics visible. It may be called more than once.
func RegisterMetrics() {
	_ = legacyregistry.Register(repairs) // fails where it is registered already
}

// Count counts a repair.
func Count(o Repaired) { repairs.WithLabelValues(string(o.Feature)).Inc() }
