// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package script

import (
	"errors"
	"os/exec"
)

// supported says whether workers can be confined on this platform.
const supported = false

func limitMemory(int64) error {
	return errors.New("templates can be evaluated on Linux only: this platform cannot limit a worker's memory")
}

func tie(*exec.Cmd) {}
