// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"
)

// result is one run of a benchmark, with what a reader has to know to compare
// it with another.
type result struct {
	Measured time.Time `json:"measured"`
	// Commit that the program was built from, with "+" if files had changed.
	Commit string `json:"commit,omitempty"`
	Go     string `json:"go"`
	CPUs   int    `json:"cpus"`
	// Load is the machine's one-minute load average when the run began: at or
	// above the number of CPUs somebody else was using them.
	Load     float64    `json:"load"`
	Measures []*Measure `json:"measures"`
}

func newResult() *result {
	return &result{
		Measured: time.Now().UTC().Truncate(time.Second),
		Commit:   commit(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Load: loadAverage(),
	}
}

func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, modified string
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value[:min(12, len(setting.Value))]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			modified = "+"
		}
	}
	return revision + modified
}

// loadAverage is 0 where the system does not tell.
func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var load float64
	if _, err := fmt.Sscan(string(data), &load); err != nil {
		return 0
	}
	return load
}

// saveResult replaces a benchmark's result in a file and leaves the others'.
func saveResult(path, name string, r *result) error {
	results := map[string]json.RawMessage{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &results)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the results in %s: %w", path, err)
	}
	if results[name], err = json.Marshal(r); err != nil {
		return fmt.Errorf("encoding the result of %s: %w", name, err)
	}
	if data, err = json.MarshalIndent(results, "", "  "); err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the directory of the results: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}
