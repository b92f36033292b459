// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures Muster: the shipped server on real control planes of
// test/fleet, from outside, through the APIs that users have.
//
//	bench [flags] [NAME ...]
//
// runs the benchmarks of these names, or all of them. Each prints one line per
// measure on standard output,
//
//	NAME key=value ... goal_key=value ... goal=met|missed
//
// whose goal_ figures are the most that the key of that name may be, or for a
// rate the least. The same goes to a JSON file, where a benchmark that did not
// run keeps what it had. Progress goes to standard error. The exit status is 0 if
// everything could be measured, whether or not the goals were met.
package main
