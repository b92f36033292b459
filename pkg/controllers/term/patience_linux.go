// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"time"

	"golang.org/x/sys/unix"
)

// setPatience has a TCP socket drop its connection, and what it holds, when data has been
// unacknowledged for so long, or the peer has had no room for so long. The kernel counts in
// milliseconds, and 0 would be without limit.
func setPatience(fd uintptr, patience time.Duration) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(patience.Milliseconds(), 1)))
}
