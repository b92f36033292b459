// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTicks is what Linux counts CPU time in, a second's worth.
const clockTicks = 100

// cpuSeconds is the CPU time that a process has used.
func cpuSeconds(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	// The second field is a name that may hold anything; the rest are numbers.
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("reading the CPU time of process %d: unexpected %q", pid, data)
	}
	var ticks float64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return ticks / clockTicks, nil
}

// residentKB is the resident memory of a process.
func residentKB(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(data)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kb); n == 1 {
			return kb, nil
		}
	}
	return 0, fmt.Errorf("reading the memory of process %d: no VmRSS", pid)
}

// awaitIdle waits until a process uses less than a fifth of a CPU, for two
// minutes at most, and returns the share that it uses then: what it always
// uses is part of what a benchmark measures.
func awaitIdle(ctx context.Context, pid int) (share float64, err error) {
	const (
		step   = 2 * time.Second
		idle   = 0.2
		rounds = 60
	)
	for range rounds {
		before, err := cpuSeconds(pid)
		if err != nil {
			return 0, err
		}
		if err := pause(ctx, step); err != nil {
			return 0, err
		}
		after, err := cpuSeconds(pid)
		if err != nil {
			return 0, err
		}
		if share = (after - before) / step.Seconds(); share < idle {
			break
		}
	}
	return share, nil
}
