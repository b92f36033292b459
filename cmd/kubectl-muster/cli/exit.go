// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

// ExitError says with which exit status to end.
type ExitError struct {
	// Code is the exit status.
	Code int
	// Err is what went wrong, nil if what was printed says it.
	Err error
}

// Error is empty if nothing went wrong.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns what went wrong.
func (e *ExitError) Unwrap() error { return e.Err }
