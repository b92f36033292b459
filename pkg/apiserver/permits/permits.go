// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package permits remembers for some seconds what the host cluster allows, and
// asks again before an answer that is in use is too old.
//
// The authorizers of k8s.io/apiserver remember too, but the request that finds
// an answer expired waits for the next one. Names are part of the question, so
// that a reader of a hundred sets waits ten times a second, and slow requests
// are those. Here nobody who keeps asking waits, and no answer is ever older
// than theirs would be.
package permits

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// capacity is how many answers are remembered, as many as in the authorizers
	// of k8s.io/apiserver.
	capacity = 8192
	// maxQuestion bounds the size of a question that is remembered, in bytes:
	// names and paths are whatever a client sends.
	maxQuestion = 16 << 10
	// renewers is how many answers are renewed at the same time, and backlog how
	// many more wait for it. Those that find no place are asked for in time, or by
	// whoever needs them.
	renewers = 4
	backlog  = 1024
	// renewTimeout is for one answer.
	renewTimeout = 5 * time.Second
)

// Options say how long an answer is good.
type Options struct {
	// Allowed is for answers that allow; half of it later they are renewed, if
	// somebody asks. Refused is for all others. 0 remembers none.
	Allowed, Refused time.Duration
	// Clock is for tests. Default: the machine's.
	Clock clock.Clock
}

// Authorizer asks another one, and remembers. It is safe for concurrent use.
type Authorizer struct {
	source   authorizer.Authorizer
	options  Options
	answers  *utilcache.LRUExpireCache
	renewals chan renewal
}

var _ authorizer.Authorizer = &Authorizer{}

// answer is what source said, and when it was asked.
type answer struct {
	decision authorizer.Decision
	reason   string
	asked    time.Time
	// renewing is set by the one that has it renewed.
	renewing atomic.Bool
}

type renewal struct {
	question   string
	attributes authorizer.Attributes
}

// New returns an authorizer that remembers what source answers; source should
// not. Run has to run, or nothing is renewed.
func New(source authorizer.Authorizer, options Options) *Authorizer {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return &Authorizer{
		source:   source,
		options:  options,
		answers:  utilcache.NewLRUExpireCacheWithClock(capacity, options.Clock),
		renewals: make(chan renewal, backlog),
	}
}

// Authorize answers from memory where it can.
func (a *Authorizer) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	question, ok := encode(attributes)
	if !ok {
		return a.source.Authorize(ctx, attributes)
	}
	if found, ok := a.answers.Get(question); ok {
		known := found.(*answer)
		a.renewInTime(known, renewal{question, attributes})
		return known.decision, known.reason, nil
	}
	return a.ask(ctx, renewal{question, attributes})
}

// ask asks source, and remembers what it said unless that is an error.
func (a *Authorizer) ask(ctx context.Context, r renewal) (authorizer.Decision, string, error) {
	// Before, because it may be outdated by the time that it arrives.
	asked := a.options.Clock.Now()
	decision, reason, err := a.source.Authorize(ctx, r.attributes)
	if err != nil {
		return decision, reason, err
	}
	good := a.options.Refused
	if decision == authorizer.DecisionAllow {
		good = a.options.Allowed
	}
	if left := good - a.options.Clock.Since(asked); left > 0 {
		a.answers.Add(r.question, &answer{decision: decision, reason: reason, asked: asked}, left)
	}
	return decision, reason, nil
}

// renewInTime has an answer that allows renewed in the second half of its time.
func (a *Authorizer) renewInTime(known *answer, r renewal) {
	if known.decision != authorizer.DecisionAllow || a.options.Clock.Since(known.asked) < a.options.Allowed/2 || !known.renewing.CompareAndSwap(false, true) {
		return
	}
	select {
	case a.renewals <- r:
	default:
		known.renewing.Store(false)
	}
}

// Run renews answers until ctx ends.
func (a *Authorizer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range renewers {
		running.Go(func() {
			for {
				select {
				case r := <-a.renewals:
					a.renew(ctx, r)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	running.Wait()
	return nil
}

// renew asks again. An error leaves the answer as it is, until it is too old.
func (a *Authorizer) renew(ctx context.Context, r renewal) {
	limited, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if _, _, err := a.ask(limited, r); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).V(2).Info("An authorization could not be renewed", "err", err)
	}
}

// ConditionsAwareAuthorize is Authorize: the host answers without conditions.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions is never asked for: there are none.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// question is everything that an authorizer can see. Two that differ in any of it
// have to differ when they are encoded.
type question struct {
	User, UID   string
	Groups      []string
	Extra       map[string][]string
	Verb        string
	ReadOnly    bool
	Resource    bool
	Group       string
	Version     string
	Kind        string
	Subresource string
	Namespace   string
	Name        string
	Path        string
	Fields      [][3]string
	Labels      []string
}

// encode is false for what is not to be remembered.
func encode(attributes authorizer.Attributes) (string, bool) {
	q := question{
		Verb:        attributes.GetVerb(),
		ReadOnly:    attributes.IsReadOnly(),
		Resource:    attributes.IsResourceRequest(),
		Group:       attributes.GetAPIGroup(),
		Version:     attributes.GetAPIVersion(),
		Kind:        attributes.GetResource(),
		Subresource: attributes.GetSubresource(),
		Namespace:   attributes.GetNamespace(),
		Name:        attributes.GetName(),
		Path:        attributes.GetPath(),
	}
	if user := attributes.GetUser(); user != nil {
		q.User, q.UID, q.Groups, q.Extra = user.GetName(), user.GetUID(), user.GetGroups(), user.GetExtra()
	}
	fields, fieldErr := attributes.GetFieldSelector()
	labels, labelErr := attributes.GetLabelSelector()
	if fieldErr != nil || labelErr != nil {
		return "", false
	}
	for _, f := range fields {
		q.Fields = append(q.Fields, [3]string{f.Field, string(f.Operator), f.Value})
	}
	for _, l := range labels {
		q.Labels = append(q.Labels, l.String())
	}
	encoded, err := json.Marshal(q)
	if err != nil || len(encoded) > maxQuestion {
		return "", false
	}
	return string(encoded), true
}
