// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package serving keeps this server reachable through the host's aggregator:
// the serving certificate that every replica shares through one host Secret,
// the APIServices' caBundle that has to follow it, and the checks that nobody
// else, Sveltos' own CustomResourceDefinitions above all, serves our groups.
//
// Every replica runs all of it. Each write is compared before it is made and
// guarded by a resourceVersion, so that replicas converge without a leader;
// a certificate must not wait for one.
package serving
