// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/muster-project/muster/pkg/storage/identity"
)

var storageHeld = metrics.NewGaugeVec(&metrics.GaugeOpts{
	Namespace:      "muster",
	Name:           "storage_held",
	Help:           "1 while this server's storage is held, by reason: nothing is served, changed or withdrawn until a person confirms it.",
	StabilityLevel: metrics.ALPHA,
}, []string{"reason"})

// RegisterMetrics makes this package's metrics visible. It may be called more
// than once.
func RegisterMetrics() { legacyregistry.Register(storageHeld) }

// recordHeld shows the reason for which storage is held; empty for none.
func recordHeld(reason identity.Reason) {
	storageHeld.Reset()
	if reason != "" {
		storageHeld.WithLabelValues(string(reason)).Set(1)
	}
}
