// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package fleet

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has no counterpart here: a fleet whose owner is killed is
// ended by Down.
func dieWithParent(*syscall.SysProcAttr) {}

// startTime is when a process was started, as ps prints it. os.ErrNotExist if
// there is none.
func startTime(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	text := strings.TrimSpace(string(out))
	if err != nil || text == "" || strings.HasPrefix(text, "Z") {
		return "", os.ErrNotExist
	}
	_, started, ok := strings.Cut(text, " ")
	if !ok {
		return "", fmt.Errorf("process %d: unreadable ps output", pid)
	}
	return strings.TrimSpace(started), nil
}
