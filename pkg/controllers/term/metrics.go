// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	leading = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace:      "muster",
		Name:           "leader",
		Help:           "1 while this replica leads: its controllers run and may write. 0 while it follows.",
		StabilityLevel: metrics.ALPHA,
	})
	currentEpoch = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace:      "muster",
		Subsystem:      "term",
		Name:           "epoch",
		Help:           "Epoch of the term that this replica leads, or has led last; 0 before its first.",
		StabilityLevel: metrics.ALPHA,
	})
	termsEnded = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace:      "muster",
		Name:           "terms_ended_total",
		Help:           "Terms of this replica that have ended, or could not begin, by reason: shutdown, lease_lost, failed, not_drained.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"reason"})
)

// RegisterMetrics makes this package's metrics visible. It may be called more than once.
func RegisterMetrics() {
	for _, metric := range []metrics.Registerable{leading, currentEpoch, termsEnded} {
		_ = legacyregistry.Register(metric) // fails where it is registered already
	}
}

// endReason is the label of a term that ended with err, or with the end of ctx.
func endReason(ctx context.Context, err error) string {
	switch {
	case errors.Is(err, ErrNotDrained):
		return "not_drained"
	case errors.Is(err, ErrClosed), err == nil && errors.Is(context.Cause(ctx), errLeaseLost):
		return "lease_lost"
	case err != nil && ctx.Err() == nil:
		return "failed"
	}
	return "shutdown"
}
