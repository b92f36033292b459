// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet starts real Kubernetes control planes on loopback: one host
// cluster and any number of managed ones, each a kube-apiserver process on a
// shared etcd, with Muster registered in the host as its shipped
// ServiceAccount. The end-to-end tests, the chaos tests, the benchmarks, the
// demo and `make up` all run on it.
//
// Every managed control plane stands behind a TCP Proxy that can refuse,
// black-hole, delay and cut, and can be killed, restarted on its data, or
// replaced by another cluster at the same address.
//
// Muster is one server with its etcd inside or, with Options.Replicas, what the
// chart installs: three members of etcd, any number of replicas with the
// Deployment's arguments, and a round-robin that knows no more of them than their
// readiness probe says. Each replica has proxies of its own to the host and to
// the members.
//
// A Fleet is safe for concurrent use, and one is meant to be shared by all
// tests of a package: start it in TestMain, give each test namespaces of its
// own, and call Fleet.Heal between tests that break something.
//
// All processes die with the one that called Start.
package fleet
