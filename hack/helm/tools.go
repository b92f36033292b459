// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package helm pins the program that hack/helm/build.sh compiles.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
