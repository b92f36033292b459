// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"k8s.io/klog/v2"
)

// names are features as an inventory has them, nil for none.
func names(features []Feature) []string {
	var out []string
	for _, feature := range features {
		out = append(out, string(feature))
	}
	return out
}

// listRun is one list of a pass that is about to be deployed.
type listRun struct {
	feature Feature
	hash    string
	// deploy runs it, or, if halt is not nil, makes the record say that it was not.
	deploy func(halt error)
	ended  chan struct{}
}

// deploy runs the lists, beside each other where the order allows it, and returns
// when all have ended.
func (p *pass) deploy(ctx context.Context) {
	runs := map[Feature]*listRun{}
	for _, list := range p.request.Objects {
		steps := stepsOf(p.plan.objects, list.Feature)
		runs[list.Feature] = &listRun{
			feature: list.Feature, hash: objectsHash(steps),
			deploy: func(halt error) { p.deployObjects(ctx, list.Feature, steps, halt) },
		}
	}
	if len(p.plan.releases) > 0 {
		runs[Helm] = &listRun{
			feature: Helm, hash: releasesHash(p.plan.releases),
			deploy: func(halt error) { p.deployReleases(ctx, halt) },
		}
	}
	for _, run := range runs {
		run.ended = make(chan struct{})
	}
	var lists sync.WaitGroup
	for _, run := range runs {
		lists.Go(func() {
			defer close(run.ended)
			defer p.survive(ctx, run.feature)
			run.deploy(p.halt(run, runs))
		})
	}
	lists.Wait()
}

// survive makes the error of a list of a panic in it. Nobody else could: it would end the
// process, and a chart that Helm panics over is a stranger's. What was panicked with is
// not shown, it may be anything; errors of Go's runtime hold no values.
func (p *pass) survive(ctx context.Context, feature Feature) {
	cause := recover()
	if cause == nil {
		return
	}
	err := fmt.Errorf("deploying to %s panicked with a %T, which is a fault of Muster's: report it with the stack in its log", p.cluster.Ref, cause)
	if known, ok := cause.(runtime.Error); ok {
		err = fmt.Errorf("deploying to %s panicked, which is a fault of Muster's, report it with the stack in its log: %w", p.cluster.Ref, known)
	}
	klog.FromContext(ctx).Error(err, "A list of a profile panicked", "profile", p.request.Owner, "feature", feature, "stack", string(debug.Stack()))
	p.report(feature, FeatureResult{Err: err})
}

// halt waits for the lists that come before one, and returns why it may not be run,
// nil if it may. No list waits for one behind it, so that the waits end.
func (p *pass) halt(run *listRun, runs map[Feature]*listRun) error {
	if halt, found := p.request.Halted[run.feature]; found && (halt.Hash == "" || halt.Hash == run.hash) {
		return halt.Err
	}
	at := slices.Index(p.request.FeatureOrder, run.feature)
	for _, before := range p.request.FeatureOrder[:max(at, 0)] {
		if other := runs[before]; other != nil {
			<-other.ended
		}
		if p.hasFailed(before) {
			return &WaitingError{Feature: run.feature, For: before}
		}
	}
	return nil
}

func (p *pass) hasFailed(feature Feature) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.results[feature].Err != nil
}

func stepsOf(all []objectStep, feature Feature) []objectStep {
	var steps []objectStep
	for _, s := range all {
		if s.feature == feature {
			steps = append(steps, s)
		}
	}
	return steps
}

// applyOrder are the places of a list's steps in the order in which they are applied:
// what defines kinds comes before everything else, which may be of these kinds.
func applyOrder(steps []objectStep) []int {
	order := make([]int, len(steps))
	for i := range steps {
		order[i] = i
	}
	rank := func(i int) int {
		if isCRD(steps[i].key) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	return order
}

// objectsHash is of a list of objects as it was asked for, its order included.
func objectsHash(steps []objectStep) string {
	parts := make([]string, 0, 2*len(steps))
	for _, s := range steps {
		parts = append(parts, s.key.String(), s.hash)
	}
	hash, _ := hashOf(parts) // strings always have a hash
	return hash
}

// releasesHash is objectsHash for charts.
func releasesHash(steps []releaseStep) string {
	parts := make([]string, 0, 2*len(steps))
	for _, s := range steps {
		parts = append(parts, s.key.String(), s.hash)
	}
	hash, _ := hashOf(parts)
	return hash
}
