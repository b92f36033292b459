// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package selection decides which clusters of a fleet a set has active, and
// says why.
//
// The decision is one pure function, [Compute]. The API server calls it to
// answer a read of a set's selection, the controller calls it to write the
// set's status, and both get the same answer on every replica. [Index] holds
// the fleet in a form in which that function costs what it selects and not
// what the fleet holds.
//
// # The five rules
//
// Rule 1, matching. A cluster matches a set when the set's selector or one of
// its refs names it, it exists, and it is not being deleted. Clusters are told
// apart by group, kind, namespace and name; a cluster that the selector and
// several refs name is one cluster. An empty selector matches nothing. Paused
// clusters match. A set with a namespace sees that namespace alone. A matching
// cluster that is ready is healthy. (match.go)
//
// Rule 2, stickiness. What was selected and still matches is kept, oldest
// first. One that is not ready is kept only while no healthy cluster can take
// its place: it is [Held], and its add-ons stay where they are. Health
// replaces; it never merely removes. A healthy cluster uses a free place
// before it replaces a held one, and the newest of the held ones goes first.
// (stillMatching and fill in compute.go)
//
// Rule 3, filling and shrinking. Free places up to MaxReplicas, and at most
// [MaxSelected], are filled by rank: a stable hash of the set's and the
// cluster's names and never of a UID, so that every replica agrees and many
// sets spread over a fleet. Where there are fewer places than clusters, held
// ones are dropped first and then the newest. (rank.go, and pick and shrink in
// compute.go)
//
// Rule 4, returning. A cluster that is not selected, and on which a
// ClusterSummary that this set alone caused is still being deleted, reachable
// or not, is [Returning]: its add-ons are withdrawn first, and only then can it
// be picked again. It never takes its place back by itself: once withdrawn it
// is an ordinary candidate for a free place. (returning.go, and pick in
// compute.go)
//
// Rule 5, no replicas. MaxReplicas of 0 or less selects nothing.
// (Compute)
//
// # The brake
//
// When most of the fleet looks dead at once, health is not to be believed, and
// the leader sets [Spec].Halted. Then nothing is moved on account of health:
// every cluster that was selected and still matches stays, held if it is not
// ready; none is picked, not even for a free place; and none is dropped where
// MaxReplicas has become smaller, because which ones to drop depends on health.
// What does not depend on health still counts: a cluster that stops matching
// leaves, its place stays free, and MaxReplicas of 0 selects nothing.
//
// # Reasons
//
// Every cluster that a set can see has exactly one [Reason]. [Result.Reason]
// gives it, so that no caller decides it a second time.
package selection
