// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import "github.com/muster-project/muster/pkg/fleet"

// Parameters of 64-bit FNV-1a.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// Rank is the cluster's place in the set's order, lowest first; clusters of
// equal rank are ordered by fleet.Ref.Compare. It is
//
//	mix(mix(fnv1a("Kind/namespace/name" of the set)) XOR mix(fnv1a("namespace/name" of the cluster)))
//
// where mix is the finalizer of 64-bit MurmurHash3. Replicas of different
// versions have to agree, so this never changes.
func Rank(set SetKey, ref fleet.Ref) uint64 {
	return rankOf(seedOf(set), hashOf(ref))
}

// seedOf is the set's half of the rank.
func seedOf(set SetKey) uint64 {
	hash := fnv1a(fnvOffset, set.Kind)
	hash = fnv1a(hash, "/")
	hash = fnv1a(hash, set.Namespace)
	hash = fnv1a(hash, "/")
	return mix(fnv1a(hash, set.Name))
}

// hashOf is the cluster's half. It is made of both halves so that an index
// hashes a name once and not once per set.
func hashOf(ref fleet.Ref) uint64 {
	hash := fnv1a(fnvOffset, ref.Namespace)
	hash = fnv1a(hash, "/")
	return mix(fnv1a(hash, ref.Name))
}

func rankOf(seed, hash uint64) uint64 {
	return mix(seed ^ hash)
}

func fnv1a(hash uint64, s string) uint64 {
	for i := range len(s) {
		hash ^= uint64(s[i])
		hash *= fnvPrime
	}
	return hash
}

// mix makes every bit of the result depend on every bit of h. FNV alone leaves
// names that differ in the last letter next to each other.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}

// position is a place in a set's rank order, whether a cluster is there or not.
type position struct {
	rank uint64
	ref  fleet.Ref
}
