// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// workerThreads is how many threads of a worker run Go code at once: the evaluation and
// the garbage collector beside it. A bomb shall not keep every core of a big machine busy.
const workerThreads = 2

// maxArrayIndex is up to where a Lua table is a list, be there gaps in it: 16 MiB if there
// are no others. It is more than a script may return, so that no list is cut off.
const maxArrayIndex = 1 << 20

// gcPercent is by how much a worker's heap grows between two collections, in percent.
const gcPercent = 400

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
	// Until then it need not hurry: what an evaluation leaves is garbage all at once, and
	// the heap of a worker is small.
	debug.SetGCPercent(gcPercent)
	// t[67108863] = 1 is then an entry of a hash, and not a list of gigabytes, which
	// would end the worker.
	lua.MaxArrayIndex = maxArrayIndex
	// Dates are read in UTC wherever the replica stands.
	time.Local = time.UTC
	return limitMemory(memory)
}
