// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package term

import "time"

// setPatience does nothing where sockets have no such limit.
func setPatience(uintptr, time.Duration) error { return nil }
