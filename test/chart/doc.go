// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chart tests what the Helm chart renders, with the Helm that bin/ has:
// that the host would take it, that the parts fit each other and the flags of
// the programs, and that wrong values stop Helm. What an installation does is
// tested on the local fleet.
package chart
