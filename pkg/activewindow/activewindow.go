// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package activewindow says whether a moment is inside the window in which a managed
// cluster may be changed: from when one cron expression last came true until another one
// does, in UTC.
//
// The answer depends on the moment alone and on nothing that happened before, so that a
// process that was down, or whose clock jumped, is right as soon as it asks again.
package activewindow

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// MaxText is the longest expression, in bytes.
const MaxText = 256

// horizon is how far back the last occurrence of an expression is looked for. What cron
// can say at all, the 29th of February included, happens within it.
const horizon = 9 * 366 * 24 * time.Hour

// Window is a repeated span of time.
type Window struct {
	from, to cron.Schedule
	hash     [sha256.Size]byte
}

// State is what a window is at one moment.
type State struct {
	// Active is true inside the window, its first moment included, its last not.
	Active bool
	// Begins and Ends are the next moments at which the expressions come true.
	Begins, Ends time.Time
}

// Next is the earlier of the next two moments.
func (s State) Next() time.Time {
	if s.Ends.Before(s.Begins) {
		return s.Ends
	}
	return s.Begins
}

// Check says what is wrong with an expression of a window; nil if nothing is.
func Check(expression string) error {
	_, err := parse(expression)
	return err
}

// Parse reads the two expressions of a window.
func Parse(from, to string) (*Window, error) {
	begin, err := parse(from)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	end, err := parse(to)
	if err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	return &Window{from: begin, to: end, hash: sha256.Sum256([]byte(from + "\n" + to))}, nil
}

func parse(expression string) (cron.Schedule, error) {
	switch {
	case len(expression) > MaxText:
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", len(expression), MaxText)
	case strings.Contains(expression, "TZ="):
		// The zones that are known differ from machine to machine.
		return nil, errors.New("windows are in UTC, no time zone can be given")
	case strings.HasPrefix(strings.TrimSpace(expression), "@every"):
		return nil, errors.New("an interval has no place in time; write minute, hour, day, month and day of the week")
	}
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("not a cron expression of minute, hour, day, month and day of the week: %w", err)
	}
	if schedule.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, errors.New("there is no such moment in any year")
	}
	return schedule, nil
}

// At is the window's state at a moment.
func (w *Window) At(now time.Time) State {
	now = now.UTC()
	begun, ended := last(w.from, now), last(w.to, now)
	return State{Active: begun.After(ended), Begins: w.from.Next(now), Ends: w.to.Next(now)}
}

// Hash is of the window's expressions.
func (w *Window) Hash() []byte { return w.hash[:] }

// last is when a schedule last came true, this moment included; zero if that is beyond
// the horizon.
func last(schedule cron.Schedule, now time.Time) time.Time {
	for span := time.Hour; span <= 4*horizon; span *= 4 {
		found := schedule.Next(now.Add(-span))
		if found.IsZero() || found.After(now) {
			continue
		}
		for {
			next := schedule.Next(found)
			if next.IsZero() || next.After(now) {
				return found
			}
			found = next
		}
	}
	return time.Time{}
}
