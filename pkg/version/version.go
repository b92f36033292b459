// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package version says which Muster this is. It is not component-base's
// version, from which the API server's library takes its feature gates: that
// one stays Kubernetes' own.
package version

import (
	"fmt"
	"runtime"
)

// stamp is set by the linker; see the Makefile.
var stamp = "v0.0.0-unstamped"

// String is the version, as in v0.1.0, or v0.1.0-dev+abc1234 between releases.
func String() string { return stamp }

// Long is the version, and what it was built with and for.
func Long() string {
	return fmt.Sprintf("%s (%s, %s/%s)", stamp, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
