// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checks runs the readiness and liveness checks that a SveltosCluster has: Lua
// that judges objects of the cluster.
package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/fleet/gather"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/rule"
)

// clusterChecks are those of one SveltosCluster.
type clusterChecks struct {
	lua                 gather.Evaluator
	readiness, liveness []check
}

type check struct {
	// title is what kind of check it is, and its name.
	title     string
	condition string
	selectors *gather.Selectors
	// err is why the selectors cannot be used, which validation refuses.
	err error
}

// New returns the checks in spec, nil if it has none. While the cluster is not ready all
// of them have to pass: one that fails its liveness checks would not stay ready. While it
// is ready only the liveness checks have to.
func New(lua gather.Evaluator, spec *libv1beta1.SveltosClusterSpec) fleet.Checks {
	if len(spec.ReadinessChecks)+len(spec.LivenessChecks) == 0 {
		return nil
	}
	return &clusterChecks{
		lua:       lua,
		readiness: prepare("readiness", spec.ReadinessChecks),
		liveness:  prepare("liveness", spec.LivenessChecks),
	}
}

func prepare(kind string, specs []libv1beta1.ClusterCheck) []check {
	var prepared []check
	for i := range specs {
		selectors, err := gather.Compile(specs[i].ResourceSelectors)
		prepared = append(prepared, check{
			title: kind + " check " + specs[i].Name, condition: specs[i].Condition,
			selectors: selectors, err: err,
		})
	}
	return prepared
}

// severity is the order in which one check's verdict outweighs another's.
var severity = []fleet.CheckState{fleet.ChecksPassed, fleet.ChecksUndecided, fleet.ChecksErred, fleet.ChecksFailed}

// Run runs the checks that are due. The verdict is the worst of them, the first of equals.
func (c *clusterChecks) Run(ctx context.Context, client *fleet.Client, ready bool) fleet.Verdict {
	due := c.liveness
	if !ready {
		due = slices.Concat(c.readiness, c.liveness)
	}
	worst := fleet.Verdict{State: fleet.ChecksPassed}
	for i := range due {
		verdict := due[i].run(ctx, client, c.lua)
		if slices.Index(severity, verdict.State) > slices.Index(severity, worst.State) {
			worst = verdict
		}
	}
	return worst
}

func (c *check) run(ctx context.Context, client *fleet.Client, lua gather.Evaluator) fleet.Verdict {
	if c.err != nil {
		return c.verdict(fleet.ChecksErred, c.err.Error())
	}
	objects, err := c.selectors.List(ctx, client, lua)
	if err != nil {
		return c.explain(err)
	}
	if strings.TrimSpace(c.condition) == "" {
		return fleet.Verdict{State: fleet.ChecksPassed}
	}
	answers, err := lua.EvaluateLua(ctx, script.LuaBatch{
		Name: c.title, Text: c.condition, Argument: "resources", Values: []any{objects},
	})
	if err != nil {
		return c.explain(err)
	}
	passed, message, err := answers[0].Verdict("pass")
	switch {
	case err != nil:
		return c.explain(err)
	case passed:
		return fleet.Verdict{State: fleet.ChecksPassed}
	case message == "":
		message = "it says no more"
	}
	return c.verdict(fleet.ChecksFailed, message)
}

func (c *check) verdict(state fleet.CheckState, message string) fleet.Verdict {
	words := map[fleet.CheckState]string{
		fleet.ChecksFailed:    " failed: ",
		fleet.ChecksErred:     " has a script that fails: ",
		fleet.ChecksUndecided: " could not be run: ",
	}
	return fleet.Verdict{State: state, Message: c.title + words[state] + message}
}

// explain says what an error proves. A script that fails did not say that the cluster is
// well, and an API server that answers 5xx is not. Everything else, a limit that was hit,
// a right that is missing, an answer that did not come in time, proves nothing: whether
// the cluster can be reached is for the probe to say.
func (c *check) explain(err error) fleet.Verdict {
	if own, ok := errors.AsType[*script.LuaError](err); ok {
		message := own.Message
		if own.Line > 0 {
			message = fmt.Sprintf("line %d: %s", own.Line, own.Message)
		}
		return c.verdict(fleet.ChecksErred, message)
	}
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		if code := status.Status().Code; code >= 500 {
			return c.verdict(fleet.ChecksFailed, fmt.Sprintf("the API server answers %d", code))
		}
		return c.verdict(fleet.ChecksUndecided, err.Error())
	}
	for _, limit := range []error{
		gather.ErrTooMuch, rule.ErrLimit, script.ErrTimeout, script.ErrMemory, script.ErrOutput, script.ErrInput,
	} {
		if errors.Is(err, limit) {
			return c.verdict(fleet.ChecksUndecided, err.Error())
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return c.verdict(fleet.ChecksUndecided, "it took too long")
	}
	// Of a connection, or a worker: its words, and ports in them, change every time.
	return c.verdict(fleet.ChecksUndecided, "the objects could not be read, or the script not be started")
}
