// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet is all that Muster knows about talking to managed clusters:
// whose kubeconfig may be used and how (ParseKubeconfig), the one factory of
// every client (Clusters), how a cluster is (Prober), when so many are down at
// once that the fault is more likely ours (Brake), and who may keep a
// goroutine busy with a cluster (Workers).
//
// One rule runs through it: a cluster that hangs costs its own goroutine and
// nobody else's time. There is no pool that clusters share, no lock that is
// held over a request to one, and a cluster that is known to be unreachable is
// not asked again by anybody but its prober.
//
// The package knows clusters by Ref and never by the API kind behind it.
package fleet
