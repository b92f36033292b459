// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
)

// finalError says that a list failed as often as maxConsecutiveFailures allows, and is
// not tried again before something changes.
type finalError struct {
	failures int
	err      error
}

func (e *finalError) Error() string {
	return fmt.Sprintf("failed %d times in a row, as many as maxConsecutiveFailures allows, and waits for a change: %v", e.failures, e.err)
}

func (e *finalError) Unwrap() error { return e.err }

func isFinal(err error) bool {
	var final *finalError
	return errors.As(err, &final)
}

// leaves are the errors that others were joined of.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	var out []error
	for _, one := range joined.Unwrap() {
		out = append(out, leaves(one)...)
	}
	return out
}

// onlyWaits reports whether nothing is wrong with a list but that another one comes
// before it.
func onlyWaits(err error) bool {
	for _, leaf := range leaves(err) {
		if _, waits := leaf.(*deploy.WaitingError); !waits {
			return false
		}
	}
	return err != nil
}

// halts are the lists that are not run again while they ask for the same, on the host
// and on the managed cluster.
type halts struct {
	local, remote map[deploy.Feature]deploy.Halt
}

// halts returns what the last job of a summary gave up, unless something has changed
// before this one, of which o is the outcome so far.
func (m *memory) halts(name types.NamespacedName, o outcome) halts {
	last := m.lastOfSame(name, o)
	if last == nil {
		return halts{}
	}
	given := func(result deploy.Result) map[deploy.Feature]deploy.Halt {
		out := map[deploy.Feature]deploy.Halt{}
		for feature, part := range result.Features {
			var final *finalError
			if part.Err != nil && errors.As(last.result.Features[feature].Err, &final) {
				// Without what an earlier halt has put around it.
				cause := part.Err
				if errors.As(part.Err, &final) {
					cause = final.err
				}
				out[feature] = deploy.Halt{Hash: part.Hash, Err: &finalError{failures: final.failures, err: cause}}
			}
		}
		return out
	}
	return halts{local: given(last.parts.local), remote: given(last.parts.remote)}
}

// lastOfSame is the outcome of the last job, nil if it was of something else or
// something has changed since.
func (m *memory) lastOfSame(name types.NamespacedName, o outcome) *outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.summaries[name]
	if known == nil || known.outcome == nil || o.changed || known.outcome.uid != o.uid || known.outcome.fingerprint != o.fingerprint {
		return nil
	}
	return known.outcome
}

// first reports whether no job of a summary has ended in this term.
func (m *memory) first(name types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.summaries[name] == nil || m.summaries[name].outcome == nil
}

// countFailures counts for each list the jobs in a row that it has failed in, and makes
// the error of one that has reached its limit final. The first job of a term, which is
// made whatever failed in the one before, goes on counting where that has ended.
func (m *memory) countFailures(name types.NamespacedName, summary *configv1beta1.ClusterSummary, o *outcome) {
	before := map[deploy.Feature]int{}
	if last := m.lastOfSame(name, *o); last != nil {
		before = last.inARow
	} else if m.first(name) && !o.changed && summary.Status.ObservedGeneration == summary.Generation {
		for _, feature := range summary.Status.FeatureSummaries {
			before[deploy.Feature(feature.FeatureID)] = int(feature.ConsecutiveFailures)
		}
	}
	limit := int(ptr.Deref(summary.Spec.ClusterProfileSpec.MaxConsecutiveFailures, 0))
	o.inARow = map[deploy.Feature]int{}
	o.final = o.failed() && o.err == nil && o.result.Err == nil
	for feature, result := range o.result.Features {
		switch {
		case result.Err == nil:
		case isFinal(result.Err): // it was not tried
			o.inARow[feature] = before[feature]
		case onlyWaits(result.Err):
		case reasonOf(result.Err) == configv1beta1.ReasonProvisioning:
			o.inARow[feature], o.final = before[feature], false
		default:
			o.inARow[feature] = before[feature] + 1
			if limit == 0 || o.inARow[feature] < limit {
				o.final = false
				continue
			}
			result.Err = &finalError{failures: limit, err: result.Err}
			o.result.Features[feature] = result
		}
	}
}
