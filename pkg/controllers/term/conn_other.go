// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package term

import "errors"

const rawWrites = false

func writeSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
