// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"strings"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// ConflictError says that an object or release belongs to another profile, or
// to another reference of the same one.
type ConflictError struct {
	Cluster fleet.Ref
	// Object is "Kind.group namespace/name" or "release namespace/name".
	Object string
	// Owner is who has it.
	Owner inventory.OwnerKey
	// Source is the reference that has it, if the owner is the same profile.
	Source string
	// Sibling says that the owner is the same profile, which has it on the host for
	// another cluster, with other content.
	Sibling bool
	// Uninstall says that it is a release which was to be uninstalled.
	Uninstall bool
	// Temporary says that it will be ours: the owner has a higher tier, and a
	// pass of its own under way. Try again soon.
	Temporary bool
}

// Error names the object and its owner, and says how to resolve the conflict.
func (e *ConflictError) Error() string {
	if e.Source != "" {
		return fmt.Sprintf("conflict: %s on %s is also in %s of the same profile; remove it from one of the two, or give one of them a lower tier", e.Object, e.Cluster, e.Source)
	}
	if e.Uninstall {
		return fmt.Sprintf("conflict: %s on %s is owned by %s, and is uninstalled for no other profile; remove it from one of the two", e.Object, e.Cluster, e.Owner)
	}
	if e.Temporary {
		return fmt.Sprintf("conflict: %s on %s is being deployed by %s, and is taken over when that has ended", e.Object, e.Cluster, e.Owner)
	}
	if e.Sibling {
		return fmt.Sprintf("conflict: %s on %s is owned by %s, with other content; name the object after the cluster", e.Object, e.Cluster, e.Owner)
	}
	return fmt.Sprintf("conflict: %s on %s is owned by %s; remove it from one of the two profiles, or give one of them a lower tier", e.Object, e.Cluster, e.Owner)
}

// WaitingError says that a list was not begun, because one that comes before it has
// not succeeded.
type WaitingError struct {
	Feature, For Feature
}

// Error names both lists.
func (e *WaitingError) Error() string {
	return fmt.Sprintf("%s waits for %s, which comes before it in featureOrder and has not succeeded", e.Feature, e.For)
}

// OutsideError says that an object is where a profile may not put it.
type OutsideError struct {
	Object inventory.ObjectKey
	// Namespace is the only one that the profile may put objects in.
	Namespace string
}

// Error names the object and the namespace.
func (e *OutsideError) Error() string {
	if e.Object.Namespace == "" {
		return fmt.Sprintf("%s: a Profile deploys nothing to the host that has no namespace; use a ClusterProfile", e.Object)
	}
	return fmt.Sprintf("%s: a Profile deploys to its own namespace %q of the host only; use a ClusterProfile", e.Object, e.Namespace)
}

// PendingError says that what was deleted is not gone yet.
type PendingError struct {
	Cluster fleet.Ref
	// Objects are "Kind.group namespace/name", with the finalizers that hold
	// each in brackets.
	Objects []string
}

// Error names the cluster and the objects.
func (e *PendingError) Error() string {
	return fmt.Sprintf("waiting for %s to be gone from %s", strings.Join(e.Objects, ", "), e.Cluster)
}

// ReleaseError says which release an error is of.
type ReleaseError struct {
	Release inventory.ReleaseKey
	Err     error
}

// Error is that of the cause, which names the release and the cluster.
func (e *ReleaseError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ReleaseError) Unwrap() error { return e.Err }
