// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package hack pins the module whose scripts update-codegen.sh runs.
package hack

import (
	_ "k8s.io/code-generator"
)
