// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"os/exec"
	"syscall"
)

// supported says whether workers can be confined on this platform.
const supported = true

// limitMemory bounds what the process may map writable, now and later. RLIMIT_AS would
// count the address space that the Go runtime merely reserves. A core dump would be the
// one way for data to outlive the process.
func limitMemory(limit int64) error {
	if err := setLimit(syscall.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	data, err := dataLimit(limit)
	if err != nil {
		return err
	}
	if err := setLimit(syscall.RLIMIT_DATA, data); err != nil {
		return fmt.Errorf("limiting memory: %w", err)
	}
	return nil
}

func setLimit(resource int, value uint64) error {
	return syscall.Setrlimit(resource, &syscall.Rlimit{Cur: value, Max: value})
}

// tie makes the worker die with its parent, and keeps the terminal's signals away from
// it. The kernel means the parent's thread, not the process: whoever starts the command
// stays on its thread until the worker has ended.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
