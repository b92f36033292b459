// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package term

import "syscall"

// rawWrites says whether this platform's sockets can be written to without waiting.
const rawWrites = true

func writeSocket(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
