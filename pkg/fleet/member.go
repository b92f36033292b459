// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"
)

// Ref names one registered cluster. It is comparable, so it serves as a map
// key; the group is part of it because a registration may be of another API
// than Muster's own one day.
type Ref struct {
	Group     string
	Kind      string
	Namespace string
	Name      string
}

// String returns "Kind namespace/name", the form used in messages and logs, or
// "Kind name" of what has no namespace.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Compare orders refs by namespace, name, kind and group: a total order, so
// that every list of clusters comes out the same on every replica.
func (r Ref) Compare(other Ref) int {
	return cmp.Or(
		cmp.Compare(r.Namespace, other.Namespace),
		cmp.Compare(r.Name, other.Name),
		cmp.Compare(r.Kind, other.Kind),
		cmp.Compare(r.Group, other.Group),
	)
}

// Member is what selection knows of a registered cluster.
type Member struct {
	Ref

	// UID is the registration's, not the cluster's: a cluster deleted and
	// registered again under the same name is another Member.
	UID    types.UID
	Labels map[string]string

	// Ready is the health verdict; EverReady says that it was true once, and
	// is never cleared.
	Ready     bool
	EverReady bool
	// Deleting is true from the registration's deletionTimestamp on.
	Deleting bool
	// Paused is the registration's own pause switch.
	Paused bool
}

// Identity is on whose behalf a cluster is talked to. The zero value is
// Muster itself; anything else is impersonated, with the rights that the
// managed cluster gives to that ServiceAccount.
type Identity struct {
	ServiceAccountNamespace string
	ServiceAccountName      string
}

// IsZero reports whether the identity is Muster's own.
func (i Identity) IsZero() bool {
	return i == Identity{}
}

// UserName is the name to impersonate, in the form that Kubernetes gives to
// ServiceAccounts; it is empty for Muster's own identity.
func (i Identity) UserName() string {
	if i.IsZero() {
		return ""
	}
	return "system:serviceaccount:" + i.ServiceAccountNamespace + ":" + i.ServiceAccountName
}
