// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"iter"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/muster-project/muster/pkg/fleet"
)

const (
	// KindClusterSet and KindSet are the kinds of sets. What makes a set see
	// one namespace alone is SetKey.Namespace, not its kind.
	KindClusterSet = "ClusterSet"
	KindSet        = "Set"

	// MaxSelected is the most clusters that one set selects, whatever its
	// MaxReplicas: the list of them is stored complete in the set's status,
	// which has to stay far below the size limit of an object.
	MaxSelected = 5000

	// MaxMatchingRefs is how many healthy clusters Result.Matching lists; the
	// status of a set has as many, and a count beside them.
	MaxMatchingRefs = 500
)

// SetKey names a set. Namespace is empty for a ClusterSet.
type SetKey struct {
	Kind      string
	Namespace string
	Name      string
}

// String returns "Kind name" or "Kind namespace/name", the form used in
// messages and logs.
func (k SetKey) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Spec is what a set asks for. It is not changed once handed over.
type Spec struct {
	Set SetKey

	// Selector is united with Refs; nil and empty ones match nothing.
	Selector labels.Selector
	// Refs name clusters one by one. In a set with a namespace, a ref without
	// one means the set's, and a ref to another one matches nothing. Refs to
	// clusters that do not exist are allowed: they match once these do.
	Refs []fleet.Ref

	MaxReplicas int

	// Halted is the brake, as the leader has persisted it.
	Halted bool
}

// Reason says what a set made of a cluster.
type Reason string

const (
	// Selected clusters are active and ready.
	Selected Reason = "Selected"
	// Held clusters are active and not ready, and nothing can replace them.
	Held Reason = "Held"
	// Standby clusters are ready and take the next free place, by rank.
	Standby Reason = "Standby"
	// NotReady clusters match and are not ready.
	NotReady Reason = "NotReady"
	// Returning clusters are not selected any more, and the add-ons that this
	// set alone put there are still being withdrawn.
	Returning Reason = "Returning"
	// NotMatching clusters are in the set's sight and not asked for, or they
	// are being deleted. It outweighs every other reason: what is still being
	// withdrawn from one is no matter of this set any more.
	NotMatching Reason = "NotMatching"
)

// Reasons lists every reason, in the order in which people want to see them.
func Reasons() []Reason {
	return []Reason{Selected, Held, Standby, NotReady, Returning, NotMatching}
}

// Candidate is one cluster as a set sees it.
type Candidate struct {
	Ref fleet.Ref
	// Matching is rule 1.
	Matching bool
	Ready    bool
	// Returning is rule 4 without "not selected", which only the result knows:
	// a summary that the set alone caused is being deleted there.
	Returning bool
}

// Totals counts clusters.
type Totals struct {
	// Visible are all that exist and that the set can see, matching or not.
	Visible int
	// Matching is rule 1, Healthy those of them that are ready.
	Matching int
	Healthy  int
}

// Candidates is what Compute reads of the fleet, after rule 1. It does not
// change while Compute runs.
type Candidates interface {
	// Lookup returns the matching candidate with this ref, and false where
	// nothing of that name matches.
	Lookup(ref fleet.Ref) (Candidate, bool)
	// Healthy yields the matching candidates that are ready, in rank order.
	Healthy() iter.Seq[Candidate]
	// Returning yields the matching candidates that have Returning set, ready
	// or not, in any order.
	Returning() iter.Seq[Candidate]
	Totals() Totals
}

// Counts is how many clusters have each reason.
type Counts struct {
	Selected, Held, Standby, NotReady, Returning, NotMatching int
}

// Of returns the count of one reason, and 0 for a word that is none.
func (c Counts) Of(reason Reason) int {
	switch reason {
	case Selected:
		return c.Selected
	case Held:
		return c.Held
	case Standby:
		return c.Standby
	case NotReady:
		return c.NotReady
	case Returning:
		return c.Returning
	case NotMatching:
		return c.NotMatching
	}
	return 0
}
