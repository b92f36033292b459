// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chaos strikes replicas of Muster and what they need, on a real fleet,
// and reads from outside, the API servers' audit logs among it, whether anything
// was lost, doubled or written by a leader whose time was over. It kills Muster at
// every step of a deployment as well, of which it stops the requests that begin them.
//
// Its tests are short: each fault strikes once. `make test-chaos` strikes many
// times, at random moments; the seed that it prints makes the same moments again.
package chaos
