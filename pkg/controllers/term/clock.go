// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import "time"

// Instant is a moment on both of a machine's clocks. They can disagree: the monotonic clock stands
// still while a machine is suspended, and the wall clock can be set.
type Instant struct {
	// Monotonic is the time since some fixed moment in this process's life.
	Monotonic time.Duration
	// Wall is the time of day.
	Wall time.Time
}

// Add returns the instant d later on both clocks.
func (i Instant) Add(d time.Duration) Instant {
	return Instant{Monotonic: i.Monotonic + d, Wall: i.Wall.Add(d)}
}

// remaining is the time from now until i on the clock that gets there first; it is not positive
// when one of them has.
func (i Instant) remaining(now Instant) time.Duration {
	return min(i.Monotonic-now.Monotonic, i.Wall.Sub(now.Wall))
}

// Clock tells the time.
type Clock interface {
	Now() Instant
}

// SystemClock returns the machine's clocks.
func SystemClock() Clock { return systemClock{start: time.Now()} }

type systemClock struct{ start time.Time }

func (c systemClock) Now() Instant {
	now := time.Now()
	// Sub uses the monotonic readings of both; Round(0) leaves the wall clock's alone.
	return Instant{Monotonic: now.Sub(c.start), Wall: now.Round(0)}
}
