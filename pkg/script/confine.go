// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// workerThreads is how many threads of a worker run Go code at once: the evaluation and
// the garbage collector beside it. A bomb shall not keep every core of a big machine busy.
const workerThreads = 2

// confine sets the limits of a worker on the process that it runs in. They are set here,
// and not passed through the environment, because a worker's environment is empty.
func confine(memory int64) error {
	if memory <= 0 {
		return fmt.Errorf("a memory limit of %d bytes makes no sense", memory)
	}
	runtime.GOMAXPROCS(workerThreads)
	// The collector works hard before the kernel refuses, so that what a finished
	// evaluation left behind is never missing to the next one.
	debug.SetMemoryLimit(memory / 4 * 3)
	// Dates are read in UTC wherever the replica stands.
	time.Local = time.UTC
	return limitMemory(memory)
}
