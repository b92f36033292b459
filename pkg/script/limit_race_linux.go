// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux && race

package script

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// shadowFactor is how much a process under the race detector maps per byte that it asks
// for: the byte, two of shadow, and what the detector keeps besides.
const shadowFactor = 4

// dataLimit is the RLIMIT_DATA that leaves a process the given memory. What the race
// detector maps at start and beside each allocation counts as data.
func dataLimit(memory int64) (uint64, error) {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("reading the memory in use: %w", err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		value, found := strings.CutPrefix(lines.Text(), "VmData:")
		if !found {
			continue
		}
		kilobytes, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the memory in use: %w", err)
		}
		return kilobytes<<10 + shadowFactor*uint64(memory), nil
	}
	return 0, errors.New("reading the memory in use: /proc/self/status has no VmData")
}
