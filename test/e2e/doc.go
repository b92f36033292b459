// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e has the tests of the whole system: real control planes, the
// shipped programs, stock kubectl.
//
// All tests share one fleet. A test calls newScope, which gives it a namespace
// of its own in the host, and registers clusters there under labels of its own,
// so that tests do not see each other and can run in parallel. A test that
// kills or cuts off something calls breaks, does not run in parallel, and finds
// everything healed afterwards. (Go runs all tests that are not parallel before
// those that are, so nothing is ever broken under a parallel test.)
//
// One topic is one file.
package e2e
