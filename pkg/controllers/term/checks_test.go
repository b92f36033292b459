// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/component-base/metrics/testutil"
)

// TestATermThatCannotWorkFails, and another replica may lead. What recovers in time costs nothing.
func TestATermThatCannotWorkFails(t *testing.T) {
	down := errors.New("etcd is down")
	for name, tc := range map[string]struct {
		outage time.Duration
		check  func(ctx context.Context) error // during the outage
		fails  bool
	}{
		"fails":             {time.Hour, func(context.Context) error { return down }, true},
		"hangs":             {time.Hour, func(ctx context.Context) error { <-ctx.Done(); return down }, true},
		"fails for a while": {5 * time.Second, func(context.Context) error { return down }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				const start = time.Minute
				r := NewRunner(RunnerOptions{
					Gate:       NewGate(GateOptions{}),
					RaiseEpoch: new(epochs).raise,
					NewTerm:    func(context.Context, Term) (Starter, error) { return starter(untilEnd), nil },
					Check: func(ctx context.Context) error {
						if at := time.Since(began); at >= start && at < start+tc.outage {
							return tc.check(ctx)
						}
						return nil
					},
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				err := r.RunTerm(ctx)
				if !tc.fails {
					if err != nil {
						t.Errorf("the term failed: %v", err)
					}
					return
				}
				if !errors.Is(err, down) || !strings.Contains(err.Error(), "what a term needs has been out of reach") {
					t.Errorf("error %v, want what the check says", err)
				}
				if lasted := time.Since(began) - start; lasted < 5*time.Second || lasted > 10*time.Second {
					t.Errorf("ended %s after the outage began, want about 10s at most", lasted)
				}
			})
		})
	}
}

func TestMetricsSayWhoLeads(t *testing.T) {
	RegisterMetrics()
	RegisterMetrics()
	value := func(get func() (float64, error)) float64 {
		t.Helper()
		v, err := get()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	leads := func() float64 {
		return value(func() (float64, error) { return testutil.GetGaugeMetricValue(leading) })
	}
	epoch := func() float64 {
		return value(func() (float64, error) { return testutil.GetGaugeMetricValue(currentEpoch) })
	}
	ended := func(reason string) float64 {
		return value(func() (float64, error) { return testutil.GetCounterMetricValue(termsEnded.WithLabelValues(reason)) })
	}
	for reason, end := range map[string]func(cancel context.CancelCauseFunc) error{
		"failed": func(context.CancelCauseFunc) error { return errors.New("crash") },
		"lease_lost": func(cancel context.CancelCauseFunc) error {
			cancel(errLeaseLost)
			return nil
		},
		"shutdown": func(cancel context.CancelCauseFunc) error {
			cancel(nil)
			return nil
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		before := ended(reason)
		epochs := &epochs{last: 41}
		r := NewRunner(RunnerOptions{
			Gate:       NewGate(GateOptions{}),
			RaiseEpoch: epochs.raise,
			NewTerm: func(context.Context, Term) (Starter, error) {
				return starter(func(ctx context.Context) error {
					if leads() != 1 || epoch() != 42 {
						t.Errorf("%s: within the term muster_leader is %v, muster_term_epoch %v", reason, leads(), epoch())
					}
					if err := end(cancel); err != nil {
						return err
					}
					return untilEnd(ctx)
				}), nil
			},
		})
		_ = r.RunTerm(ctx)
		cancel(nil)
		if leads() != 0 {
			t.Errorf("%s: after the term muster_leader is %v", reason, leads())
		}
		if got := ended(reason) - before; got != 1 {
			t.Errorf("%s: %v terms ended for this reason, want 1", reason, got)
		}
	}
}
