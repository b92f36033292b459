// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry holds what the storage of all kinds has in common: tables,
// the status subresource and the part of a strategy that does not depend on
// the kind. Each kind has a package of its own below, named like it: its
// policy is in strategy.go, its wiring in storage.go, its columns in table.go,
// and a virtual subresource in a file named like that.
package registry
