// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

// ExitError is an error with an exit status of its own.
type ExitError struct {
	Err error
	// Code is the exit status, at least 1.
	Code int
}

// Error is that of the cause.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }
