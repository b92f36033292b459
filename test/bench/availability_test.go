// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"testing"
	"time"
)

func TestFailedApart(t *testing.T) {
	kill := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return kill.Add(time.Duration(ms) * time.Millisecond) }
	for name, test := range map[string]struct {
		sent, failed, want int // milliseconds after the kill
	}{
		"in flight":                        {-500, 10, 0},
		"in flight and tried again":        {-500, 5000, 0},
		"sent within the period":           {900, 950, 0},
		"sent after the period":            {1000, 1010, 1},
		"over before":                      {-500, -10, 1},
		"within the period of another one": {10_500, 10_600, 0},
	} {
		l := &apiLoad{failures: []failure{{at(test.sent), at(test.failed), errors.New("refused")}}}
		if got := l.failedApart([]time.Time{kill, at(10_000)}, time.Second); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestTakeoverMeasure(t *testing.T) {
	var times []takeoverTimes
	for i := range 20 {
		times = append(times, takeoverTimes{lease: 0.1, reconciled: 0.2 + float64(i)/10})
	}
	want := "G7 event=sigterm takeover_s=2.10 takeover_p50_s=1.15 takeover_max_s=2.10 lease_p50_s=0.10 runs=20 goal_takeover_s=1.5 goal=missed"
	for _, mode := range takeoverModes() {
		if mode.name != "sigterm" {
			continue
		}
		if got := takeoverMeasure(mode, times).String(); got != want {
			t.Errorf("line is  %s\nwant it %s", got, want)
		}
	}
}
