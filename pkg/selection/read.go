// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/muster-project/muster/pkg/fleet"
)

const (
	// DefaultLimit is how many candidates a page has where a query does not
	// say, MaxLimit the most that one has, whatever the query says: the rest
	// comes by Continue.
	DefaultLimit = 100
	MaxLimit     = 1000
)

// ErrUnknownSet is wrapped by errors about a set that the index does not hold.
var ErrUnknownSet = errors.New("no such set")

// QueryError is a Query that cannot be answered; it is the asker's mistake.
type QueryError struct {
	// Parameter is "limit", "continue" or "reason".
	Parameter string
	Message   string
}

// Error names the parameter and what is wrong with it.
func (e *QueryError) Error() string {
	return e.Parameter + ": " + e.Message
}

// Query says which candidates to list.
type Query struct {
	// Limit is the size of a page: DefaultLimit where it is 0, and at most
	// MaxLimit.
	Limit int
	// Continue is View.Continue of the page before, of the same set and with
	// the same Reason.
	Continue string
	// Reason lists candidates of that reason alone. Without one it is all that
	// match the set.
	Reason Reason
}

// View is the selection of a set and one page of its candidates, all as of one
// moment.
type View struct {
	// Selected is complete and oldest first. It is shared, and not to be
	// changed.
	Selected []Entry
	// Counts has every cluster that the set can see.
	Counts Counts
	// Candidates are in rank order, those selected among them.
	Candidates []Entry
	// Continue asks for the next page, and is empty on the last one.
	// Candidates that come and go between pages may be on none, but no
	// candidate is on two.
	Continue string
	// Persisted is true where the set's status says what Selected says, the
	// order and the count included.
	Persisted bool
	// Halted and MaxReplicas are those of the spec that this was computed for.
	Halted      bool
	MaxReplicas int
}

// Entry is one cluster in a View.
type Entry struct {
	Ref    fleet.Ref
	Reason Reason
	Ready  bool
	// Rank is the cluster's place among all that match the set, from 1 on. It
	// is 0 for one that does not match, and in View.Selected, where the order
	// is by age.
	Rank int
}

// Selection answers a query. Its errors are a *QueryError, or wrap
// ErrUnknownSet.
func (x *Index) Selection(key SetKey, query Query) (View, error) {
	if err := query.validate(); err != nil {
		return View{}, err
	}
	after, err := decodeContinue(key, query)
	if err != nil {
		return View{}, err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	c, err := x.candidatesOf(key)
	if err != nil {
		return View{}, err
	}
	now := c.compute()
	view := View{
		Selected:    now.selected,
		Counts:      now.result.Counts,
		Persisted:   now.persisted,
		Halted:      c.set.spec.Halted,
		MaxReplicas: c.set.spec.MaxReplicas,
	}
	view.Candidates, view.Continue = page{c, &now.result, query, after}.list()
	return view, nil
}

// Result returns what Compute makes of the set now, for the set's status. Its
// error wraps ErrUnknownSet.
func (x *Index) Result(key SetKey) (Result, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c, err := x.candidatesOf(key)
	if err != nil {
		return Result{}, err
	}
	return c.compute().result, nil
}

// Members returns the members that a selector matches, in one namespace or in
// all where it is empty, sorted by fleet.Ref.Compare. It is rule 1 without a
// set: an empty selector matches none, members that are being deleted are left
// out, and health does not matter. Readers and writers do not wait for it, and
// it costs what the namespace holds.
func (x *Index) Members(selector labels.Selector, namespace string) []fleet.Member {
	matcher := matcher{namespace: namespace, selector: restricting(selector)}
	x.mu.RLock()
	all := x.roster.snapshot(namespace)
	x.mu.RUnlock()
	all = slices.DeleteFunc(all, func(m *member) bool {
		return !matcher.matches(m.ref, m, m.deleting)
	})
	slices.SortFunc(all, func(a, b *member) int { return a.ref.Compare(b.ref) })
	members := make([]fleet.Member, len(all))
	for i, m := range all {
		members[i] = m.export()
	}
	return members
}

// Member returns one member, and false where it does not exist.
func (x *Index) Member(ref fleet.Ref) (fleet.Member, bool) {
	x.mu.RLock()
	m, _, exists := x.roster.get(ref)
	x.mu.RUnlock()
	if !exists {
		return fleet.Member{}, false
	}
	return m.export(), true
}

func (x *Index) candidatesOf(key SetKey) (candidates, error) {
	set := x.sets[key]
	if set == nil {
		return candidates{}, fmt.Errorf("%s: %w", key, ErrUnknownSet)
	}
	return candidates{set, x.roster, x.withdrawals.clusters[key]}, nil
}

func (q Query) validate() error {
	if q.Limit < 0 {
		return &QueryError{"limit", "must not be negative"}
	}
	if q.Reason != "" && !slices.Contains(Reasons(), q.Reason) {
		return &QueryError{"reason", fmt.Sprintf("%q is none of %v", q.Reason, Reasons())}
	}
	return nil
}

func (q Query) limit() int {
	if q.Limit == 0 {
		return DefaultLimit
	}
	return min(q.Limit, MaxLimit)
}
