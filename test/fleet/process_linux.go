// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// dieWithParent ends the child when this process ends, however it does. The
// kernel ties that to the thread that forked; Go ends threads only where a
// goroutine that locked one returns, which nothing here does.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGKILL
}

// startTime is when a process was started, in clock ticks since boot: with
// the pid it names a process for good. os.ErrNotExist if there is none, or if
// it is a zombie.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// The second field is the program's name in parentheses and may hold
	// anything; what follows the last parenthesis is regular.
	end := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[end+1:])
	const state, started = 0, 19 // fields 3 and 22 of proc_pid_stat(5)
	if end < 0 || len(fields) <= started {
		return "", fmt.Errorf("process %d: unreadable stat", pid)
	}
	if s := fields[state][0]; s == 'Z' || s == 'X' {
		return "", os.ErrNotExist
	}
	return string(fields[started]), nil
}
