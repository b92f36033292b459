// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package health runs the checks that a profile has: whether objects of a managed cluster,
// metrics, or a Job say that deployment may begin, has succeeded, or may be undone.
package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/gather"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/rule"
)

// Environment is what checks of one cluster run with.
type Environment struct {
	Client *fleet.Client
	// Lua evaluates scripts.
	Lua gather.Evaluator
	// Query asks a metric source for one number.
	Query func(ctx context.Context, source *libv1beta1.MetricSource, query string) (float64, error)
	// Job reads the manifest of a Job. What it returns may be written to.
	Job func(ctx context.Context, ref libv1beta1.JobReference) (*unstructured.Unstructured, error)
	// Owner names whose checks they are, so that Jobs that a former process has left are
	// found.
	Owner string
}

// Failure is a check that did not pass.
type Failure struct {
	Feature libv1beta1.FeatureID
	// Check is its name.
	Check string
	// Message says why, with the object's name; equal causes have equal messages.
	Message string
}

// Error says which check did not pass, and why.
func (f *Failure) Error() string { return fmt.Sprintf("check %q: %s", f.Check, f.Message) }

// Checks are the checks of one list, for one deployment. They remember which Jobs have
// succeeded. They are used by one goroutine; Watch may run beside it.
type Checks struct {
	checks []check
}

type check struct {
	libv1beta1.ValidateHealth

	selectors *gather.Selectors // nil without a kind
	rules     *rule.Set
	// absent says that it passes where there is no object: what should be gone is.
	absent bool
	job    jobState
}

// Compile prepares checks. removal is for those before and after a deletion: they pass
// where there is nothing, also no such kind, and what is being deleted is still there. For
// all others no object is a failure, and one that is being deleted does not count. The
// error says which cannot be used, and why; validation refuses those.
func Compile(specs []libv1beta1.ValidateHealth, removal bool) (*Checks, error) {
	out := &Checks{}
	for _, spec := range specs {
		one := check{ValidateHealth: spec, absent: removal}
		if spec.Kind != "" {
			selectors, err := gather.Compile([]libv1beta1.ResourceSelector{{
				Group: spec.Group, Version: spec.Version, Kind: spec.Kind, Namespace: spec.Namespace,
				LabelFilters: spec.LabelFilters, IncludeDeletingResources: removal,
			}})
			if err != nil {
				return nil, fmt.Errorf("check %q: %w", spec.Name, err)
			}
			one.selectors = selectors
		}
		var rules []rule.Rule
		for _, r := range spec.EvaluateCEL {
			rules = append(rules, rule.Rule{Name: r.Name, Expression: r.Rule})
		}
		var err error
		if one.rules, err = rule.Compile(rules...); err != nil {
			return nil, fmt.Errorf("check %q: %w", spec.Name, err)
		}
		out.checks = append(out.checks, one)
	}
	return out, nil
}

// Run runs the checks in their order, those of each feature up to the first that fails,
// and returns the failures. What it returns when ctx ends means nothing.
func (c *Checks) Run(ctx context.Context, env Environment) []Failure {
	var failures []Failure
	failed := map[libv1beta1.FeatureID]bool{}
	for i := range c.checks {
		one := &c.checks[i]
		if failed[one.FeatureID] || ctx.Err() != nil {
			continue
		}
		if message := one.run(ctx, env); message != "" {
			failed[one.FeatureID] = true
			failures = append(failures, Failure{Feature: one.FeatureID, Check: one.Name, Message: message})
		}
	}
	return failures
}

// Fail is the failure of all checks for one reason.
func (c *Checks) Fail(message string) []Failure {
	var failures []Failure
	failed := map[libv1beta1.FeatureID]bool{}
	for i := range c.checks {
		if one := &c.checks[i]; !failed[one.FeatureID] {
			failed[one.FeatureID] = true
			failures = append(failures, Failure{Feature: one.FeatureID, Check: one.Name, Message: message})
		}
	}
	return failures
}

// Watch calls changed when objects that the checks look at may have changed, until ctx
// ends. Metrics and Jobs are not watched.
func (c *Checks) Watch(ctx context.Context, connect func(context.Context) (*fleet.Client, error), changed func()) {
	var watches sync.WaitGroup
	for i := range c.checks {
		if c.checks[i].selectors != nil {
			watches.Go(func() { c.checks[i].selectors.Watch(ctx, connect, changed) })
		}
	}
	watches.Wait()
}

// run returns why a check does not pass, or nothing.
func (c *check) run(ctx context.Context, env Environment) string {
	if c.selectors != nil || c.MetricSource != nil {
		if message := c.judge(ctx, env); message != "" {
			return message
		}
	}
	if c.JobCheck != nil {
		return c.runJob(ctx, env, time.Now)
	}
	return ""
}

// judge looks at objects and metrics.
func (c *check) judge(ctx context.Context, env Environment) string {
	metrics, err := c.metrics(ctx, env)
	if err != nil {
		return err.Error()
	}
	objects := []any{map[string]any{}} // of a check of metrics alone
	if c.selectors != nil {
		if objects, err = c.selectors.List(ctx, env.Client, env.Lua); err != nil {
			return explain(err)
		}
		if len(objects) == 0 && !c.absent {
			return "there is no " + c.Kind + " that it selects"
		}
	}
	left, err := c.notByRules(ctx, objects, metrics)
	if err != nil {
		return explain(err)
	}
	switch {
	case len(left) == 0:
		return ""
	case c.Script == "":
		return nameOf(left[0]) + " is not healthy: no rule is true"
	}
	return c.byScript(ctx, env, left, metrics)
}

func (c *check) metrics(ctx context.Context, env Environment) (map[string]any, error) {
	metrics := map[string]any{}
	if c.MetricSource == nil {
		return metrics, nil
	}
	for _, query := range c.MetricQueries {
		value, err := env.Query(ctx, c.MetricSource, query.Query)
		if err != nil {
			return nil, fmt.Errorf("metric query %q: %w", query.Name, err)
		}
		metrics[query.Name] = value
	}
	return metrics, nil
}

// notByRules are the objects that no rule calls healthy. Without rules and without a
// script all of them are healthy by being there.
func (c *check) notByRules(ctx context.Context, objects []any, metrics map[string]any) ([]any, error) {
	if c.rules.Len() == 0 {
		if c.Script == "" {
			return nil, nil
		}
		return objects, nil
	}
	var left []any
	for _, object := range objects {
		healthy, err := c.rules.Any(ctx, rule.Variables{rule.Resource: object, rule.Self: object, rule.Metrics: metrics})
		if errors.Is(err, rule.ErrLimit) || ctx.Err() != nil {
			return nil, err
		}
		if !healthy {
			left = append(left, object)
		}
	}
	return left, nil
}

func (c *check) byScript(ctx context.Context, env Environment, objects []any, metrics map[string]any) string {
	answers, err := env.Lua.EvaluateLua(ctx, script.LuaBatch{
		Name: c.Name, Text: c.Script, Argument: "obj", Values: objects, Globals: map[string]any{"metrics": metrics},
	})
	if err != nil {
		return explain(err)
	}
	for i, answer := range answers {
		healthy, message, err := answer.Verdict("healthy")
		switch {
		case err != nil:
			return nameOf(objects[i]) + ": " + explain(err)
		case healthy:
		case message == "":
			return nameOf(objects[i]) + " is not healthy"
		default:
			return nameOf(objects[i]) + " is not healthy: " + message
		}
	}
	return ""
}

// nameOf is an object's kind, namespace and name.
func nameOf(content any) string {
	object := unstructured.Unstructured{}
	object.Object, _ = content.(map[string]any)
	if object.GetKind() == "" {
		return "what the metrics say"
	}
	name := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return object.GetKind() + " " + name
}
