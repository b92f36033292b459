// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package fleet

import (
	"errors"
	"net"
)

// processAt needs tables of the kernel's that only Linux shows to everybody.
func processAt(*net.TCPAddr, *net.TCPAddr, []int) (int, error) { return 0, errors.ErrUnsupported }
