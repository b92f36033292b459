// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rule evaluates what users wrote in CEL, in process: a CEL expression has no
// loops but over what it is given, and each step of it is counted against a limit.
//
// The language is CEL with its standard library, as in Sveltos; the object that a rule is
// about is in variable resource.
package rule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

const (
	// Resource is the variable that holds an object.
	Resource = "resource"
	// Resources is the variable that holds a list of objects.
	Resources = "resources"
	// Self is another name for an object, as in a CustomResourceDefinition.
	Self = "self"
	// Metrics is the variable that holds the results of a check's queries, by their names.
	Metrics = "metrics"

	// MaxText is the longest expression, in bytes.
	MaxText = 16 << 10
	// CostLimit is how much one evaluation of one rule may cost, in CEL's units: about
	// one for each step, and a tenth of the length of each string that is made or
	// searched. It stands for about a tenth of a second, and for 10 MB of memory.
	CostLimit = 1_000_000
	// MaxMessage is how long the text of an error is, in bytes.
	MaxMessage = 1 << 10
	// wallLimit is how long one evaluation may take. The cost limit ends it sooner,
	// unless this process is starved.
	wallLimit = time.Second
	// interruptEvery is after how many turns of a comprehension the clock is read.
	interruptEvery = 1000
)

// ErrLimit means that evaluating a rule cost more than CostLimit, or took too long.
var ErrLimit = errors.New("evaluation cost too much")

// Rule is a named expression.
type Rule struct {
	Name       string
	Expression string
}

// Set is a list of compiled rules. It is immutable.
type Set struct {
	rules []compiled
}

type compiled struct {
	name    string
	program cel.Program
}

// environment knows the variables. It never changes, and making one takes a millisecond.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable(Resource, cel.DynType),
		cel.Variable(Resources, cel.DynType),
		cel.Variable(Self, cel.DynType),
		cel.Variable(Metrics, cel.DynType),
	)
})

// Compile checks and prepares rules. Each has to be of type bool, or of one that is known
// only when it is evaluated. The error names the rule.
func Compile(rules ...Rule) (*Set, error) {
	set := &Set{rules: make([]compiled, 0, len(rules))}
	for _, r := range rules {
		program, err := compile(r.Expression)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		set.rules = append(set.rules, compiled{r.Name, program})
	}
	return set, nil
}

// Check says what is wrong with an expression; nil if nothing is.
func Check(expression string) error {
	_, err := compile(expression)
	return err
}

func compile(expression string) (cel.Program, error) {
	if len(expression) > MaxText {
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", len(expression), MaxText)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("preparing CEL: %w", err)
	}
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, errors.New(firstIssue(issues))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it has to be of type bool, not %s", t)
	}
	program, err := env.Program(ast, cel.CostLimit(CostLimit), cel.InterruptCheckFrequency(interruptEvery), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("preparing it: %w", err)
	}
	return program, nil
}

// firstIssue is where the first error is, and which: "line 1, column 3: …".
func firstIssue(issues *cel.Issues) string {
	all := issues.Errors()
	if len(all) == 0 {
		return shorten(issues.Err().Error())
	}
	first := all[0]
	if first.Location.Line() < 1 {
		return shorten(first.Message)
	}
	return shorten(fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message))
}

// Variables are what rules are evaluated with: what encoding/json makes of JSON, and
// int64. They are only read.
type Variables map[string]any

// Any reports whether any of the rules is true, as Sveltos asks; no rule is none. Rules
// after the first that is true are not evaluated.
//
// Rules that cannot be evaluated, because a field is not there for example, are not true.
// Their errors, joined and each with its rule's name, come back if no rule is; those of
// rules that hit a limit wrap ErrLimit.
func (s *Set) Any(ctx context.Context, variables Variables) (bool, error) {
	var errs []error
	for _, r := range s.rules {
		matches, err := r.evaluate(ctx, variables)
		if matches {
			return true, nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %s: %w", r.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return false, errors.Join(errs...)
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

func (r *compiled) evaluate(parent context.Context, variables Variables) (bool, error) {
	ctx, cancel := context.WithTimeout(parent, wallLimit)
	defer cancel()
	value, _, err := r.program.ContextEval(ctx, map[string]any(variables))
	switch {
	case parent.Err() != nil:
		return false, context.Cause(parent)
	case ctx.Err() != nil || isCostError(err):
		// Also with a value: what was interrupted is an error that the other operand of
		// && or || can outweigh.
		return false, fmt.Errorf("%w (limit %d, or %s)", ErrLimit, CostLimit, wallLimit)
	case err != nil:
		return false, errors.New(shorten(err.Error()))
	}
	matches, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it has to be of type bool, not %s", value.Type().TypeName())
	}
	return bool(matches), nil
}
