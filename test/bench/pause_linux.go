// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// pauseUntil sleeps until a moment, and is late by some tens of microseconds.
// The runtime's own timers, in a process that has nothing else to do, wait in
// whole milliseconds: that lateness would be counted as the server's.
func pauseUntil(moment time.Time) {
	for {
		left := time.Until(moment)
		if left <= 0 {
			return
		}
		// A signal ends it early.
		timespec := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&timespec, nil)
	}
}
