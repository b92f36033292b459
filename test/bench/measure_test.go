// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeasure(t *testing.T) {
	tests := []struct {
		name, line, object string
		measure            *Measure
	}{
		{
			name:    "met, at the goal itself",
			measure: (&Measure{Name: "G2"}).Text("mode", "crash").Number("detected_s", 3.456, 2).AtMost("deployed_s", 6, 6, 2),
			line:    "G2 mode=crash detected_s=3.46 deployed_s=6.00 goal_deployed_s=6 goal=met",
			object:  `{"name":"G2","mode":"crash","detected_s":3.46,"deployed_s":6.00,"goal_deployed_s":6,"goal":"met"}`,
		},
		{
			name:    "one of two missed, by less than is printed",
			measure: (&Measure{Name: "X"}).AtMost("a_ms", 1, 2, 0).AtMost("b_ms", 0.2001, 0.2, 1),
			line:    "X a_ms=1 b_ms=0.2 goal_a_ms=2 goal_b_ms=0.2 goal=missed",
			object:  `{"name":"X","a_ms":1,"b_ms":0.2,"goal_a_ms":2,"goal_b_ms":0.2,"goal":"missed"}`,
		},
		{
			name:    "no measurement",
			measure: (&Measure{Name: "X"}).AtMost("a_ms", math.NaN(), 2, 1),
			line:    "X a_ms=NaN goal_a_ms=2 goal=missed",
			object:  `{"name":"X","a_ms":null,"goal_a_ms":2,"goal":"missed"}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.measure.String(); got != test.line {
				t.Errorf("line is  %s\nwant it %s", got, test.line)
			}
			object, err := json.Marshal(test.measure)
			if err != nil || string(object) != test.object {
				t.Errorf("JSON is  %s, %v\nwant it %s", object, err, test.object)
			}
		})
	}
}

func TestQuantiles(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	for _, test := range []struct {
		samples []float64
		q, want float64
		middle  float64
	}{
		{samples: hundred, q: 0.99, want: 99, middle: 50.5},
		{samples: hundred, q: 1, want: 100, middle: 50.5},
		{samples: []float64{3}, q: 0.5, want: 3, middle: 3},
		{samples: []float64{3, 1, 2}, q: 0, want: 1, middle: 2},
	} {
		if got := quantile(test.samples, test.q); got != test.want {
			t.Errorf("quantile %v of %d samples is %v, want %v", test.q, len(test.samples), got, test.want)
		}
		if got := median(test.samples); got != test.middle {
			t.Errorf("median of %d samples is %v, want %v", len(test.samples), got, test.middle)
		}
	}
	if !math.IsNaN(quantile(nil, 0.5)) || !math.IsNaN(median(nil)) {
		t.Error("no samples have a quantile")
	}
}

// sleepUntil waits by the clock of the test.
func sleepUntil(moment time.Time) { time.Sleep(time.Until(moment)) }

// A server that stalls makes the requests behind the slow one slow, too.
func TestOpenLoopDoesNotOmitWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stalled = time.Now().Add(500 * time.Millisecond)
		latencies, err := openLoop(t.Context(), 100, time.Second, sleepUntil, func(context.Context, int) error {
			time.Sleep(time.Until(stalled))
			return nil
		})
		if err != nil || len(latencies) != 100 {
			t.Fatalf("%d latencies, %v; want 100", len(latencies), err)
		}
		slow := 0
		for _, latency := range latencies {
			if latency > 100 {
				slow++
			}
		}
		if latencies[0] != 500 || slow != 40 {
			t.Errorf("first latency %v ms, want 500; %d above 100 ms, want 40", latencies[0], slow)
		}
	})
}

func TestOpenLoopAndFailures(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		every   int
		wantErr bool
	}{"few": {every: 20}, "many": {every: 5, wantErr: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				latencies, err := openLoop(t.Context(), 100, time.Second, sleepUntil, func(_ context.Context, i int) error {
					if i%test.every == 0 {
						return broken
					}
					return nil
				})
				if errors.Is(err, broken) != test.wantErr {
					t.Errorf("error is %v, want one: %t", err, test.wantErr)
				}
				if !math.IsInf(latencies[0], 1) || latencies[1] != 0 {
					t.Errorf("latencies begin with %v, want a failure to be infinitely slow", latencies[:2])
				}
			})
		})
	}
}

func TestResultsOfOtherBenchmarksStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "results.json")
	for _, name := range []string{"G1", "G2", "G1"} {
		r := newResult()
		r.Measures = []*Measure{(&Measure{Name: name}).Number("n", 1, 0)}
		if err := saveResult(path, name, r); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var results map[string]struct {
		Go       string           `json:"go"`
		CPUs     int              `json:"cpus"`
		Measures []map[string]any `json:"measures"`
	}
	if err := json.Unmarshal(data, &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || len(results["G1"].Measures) != 1 || results["G2"].CPUs < 1 || results["G2"].Go == "" {
		t.Errorf("results are %s", data)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := saveResult(path, "G1", newResult()); err == nil {
		t.Error("a file that holds something else was overwritten")
	}
}

// One benchmark that fails fails the run, and no other benchmark.
func TestRunAll(t *testing.T) {
	var stdout, progress bytes.Buffer
	path := filepath.Join(t.TempDir(), "results.json")
	one := func(err error) func(context.Context, *bench, func(*Measure)) error {
		return func(_ context.Context, _ *bench, report func(*Measure)) error {
			report((&Measure{Name: "M"}).AtMost("x", 2, 1, 0))
			return err
		}
	}
	code := runAll(t.Context(), &bench{progress: &progress}, []benchmark{
		{name: "A", run: one(errors.New("no luck"))}, {name: "B", run: one(nil)},
	}, path, &stdout)
	if want := strings.Repeat("M x=2 goal_x=1 goal=missed\n", 2); code != 1 || stdout.String() != want {
		t.Errorf("exit status %d and\n%swant 1 and\n%s", code, stdout.String(), want)
	}
	if !strings.Contains(progress.String(), "A could not be measured: no luck") {
		t.Errorf("progress does not name the failure:\n%s", progress.String())
	}
	if code := runAll(t.Context(), &bench{progress: &progress}, []benchmark{{name: "B", run: one(nil)}}, path, &stdout); code != 0 {
		t.Errorf("exit status %d for a goal that was missed, want 0", code)
	}
}

func TestChoose(t *testing.T) {
	all := benchmarks()
	if chosen, err := choose(all, nil); err != nil || len(chosen) != len(all) {
		t.Errorf("without names %d benchmarks, %v; want all", len(chosen), err)
	}
	if chosen, err := choose(all, []string{"g2"}); err != nil || len(chosen) != 1 || chosen[0].name != "G2" {
		t.Errorf("g2 chose %v, %v", chosen, err)
	}
	if chosen, err := choose(all, []string{"G4", "g4/helm"}); err != nil || len(chosen) != 6 || chosen[5].name != "G4/helm" {
		t.Errorf("G4 and one of it chose %v, %v", chosen, err)
	}
	if _, err := choose(all, []string{"G99"}); err == nil {
		t.Error("an unknown name was taken")
	}
	for list, want := range map[string]int{"": 0, "100": 1, "1000,10": 2, "x": -1, "0": -1} {
		if sizes, err := parseSizes(list); (err != nil) != (want < 0) || want >= 0 && len(sizes) != want {
			t.Errorf("sizes %q are %v, %v", list, sizes, err)
		}
	}
}
