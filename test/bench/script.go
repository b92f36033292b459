// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/rule"
	"github.com/muster-project/muster/test/fleet"
)

const (
	scriptBatch = 100 // objects evaluated by one call
	scriptRuns  = 200 // calls, of which the median counts
	// scriptGoal is the most that one evaluation may take, in microseconds.
	scriptGoal = 60
)

// scriptUnderTest is of the kind that health checks are.
const scriptUnderTest = `
function evaluate()
  local hs = {healthy = false, message = "no status"}
  if obj.status ~= nil then
    local wanted = obj.spec.replicas or 1
    local ready = obj.status.readyReplicas or 0
    hs.healthy = ready >= wanted
    hs.message = ready .. " of " .. wanted .. " replicas are ready"
    for _, condition in ipairs(obj.status.conditions or {}) do
      if condition.type == "Progressing" and condition.status == "False" then
        hs.healthy = false
        hs.message = condition.message
      end
    end
  end
  return hs
end
`

// ruleUnderTest asks the same in CEL.
const ruleUnderTest = `resource.status.readyReplicas >= resource.spec.replicas && ` +
	`!resource.status.conditions.exists(c, c.type == "Progressing" && c.status == "False")`

// measureScripts is SCRIPT: it uses the worker process of the shipped server, and nothing
// else of it.
func measureScripts(ctx context.Context, b *bench, report func(*Measure)) error {
	objects, size, err := scriptObjects()
	if err != nil {
		return err
	}
	lua, err := measureLua(ctx, b, objects)
	if err != nil {
		return err
	}
	cel, err := measureCEL(ctx, b, objects)
	if err != nil {
		return err
	}
	m := &Measure{Name: "SCRIPT"}
	report(m.AtMost("lua_us", lua, scriptGoal, 1).AtMost("cel_us", cel, scriptGoal, 1).
		Number("batch", scriptBatch, 0).Number("object_bytes", float64(size), 0))
	return nil
}

// workers starts the worker processes of the shipped server. stop ends them, and returns
// what it is given if that goes well.
func (b *bench) workers(ctx context.Context) (pool *script.Pool, stop func(error) error, err error) {
	bin := b.bin
	if bin == "" {
		root, err := fleet.RepositoryRoot()
		if err != nil {
			return nil, nil, err
		}
		bin = filepath.Join(root, "bin")
	}
	pool = script.NewPool(script.Options{Command: []string{filepath.Join(bin, "muster"), "script-worker"}})
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(running) }()
	select {
	case <-pool.Ready():
	case err := <-ended:
		cancel()
		return nil, nil, err
	}
	return pool, func(err error) error {
		cancel()
		return errors.Join(err, <-ended)
	}, nil
}

func measureLua(ctx context.Context, b *bench, objects []any) (us float64, err error) {
	pool, stop, err := b.workers(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = stop(err) }()
	batch := script.LuaBatch{Name: "healthy", Text: scriptUnderTest, Argument: "obj", Values: objects}
	return perEvaluation(b, func() error {
		answers, err := pool.EvaluateLua(ctx, batch)
		if err != nil {
			return err
		}
		for _, answer := range answers {
			if healthy, _, err := answer.Verdict("healthy"); err != nil || !healthy {
				return fmt.Errorf("the script says healthy=%t, %v", healthy, err)
			}
		}
		return nil
	})
}

func measureCEL(ctx context.Context, b *bench, objects []any) (us float64, err error) {
	rules, err := rule.Compile(rule.Rule{Name: "healthy", Expression: ruleUnderTest})
	if err != nil {
		return 0, err
	}
	return perEvaluation(b, func() error {
		for _, object := range objects {
			if healthy, err := rules.Any(ctx, rule.Variables{rule.Resource: object}); err != nil || !healthy {
				return fmt.Errorf("the rule says %t, %v", healthy, err)
			}
		}
		return nil
	})
}

// perEvaluation is the median over many calls of what one of the call's evaluations takes,
// in microseconds. The first calls, which start the worker, do not count.
func perEvaluation(b *bench, call func() error) (float64, error) {
	const warmUp = 10
	var times []float64
	for i := range warmUp + b.repeat(scriptRuns) {
		began := time.Now()
		if err := call(); err != nil {
			return 0, err
		}
		if i >= warmUp {
			times = append(times, float64(time.Since(began).Nanoseconds())/1e3/scriptBatch)
		}
	}
	return median(times), nil
}

// scriptObjects are Deployments of 2 KB of JSON, and how much the first one has exactly.
func scriptObjects() (objects []any, size int, err error) {
	for i := range scriptBatch {
		objects = append(objects, scriptObject(i))
	}
	data, err := json.Marshal(objects[0])
	if err != nil {
		return nil, 0, fmt.Errorf("encoding an object: %w", err)
	}
	return objects, len(data), nil
}

func scriptObject(i int) map[string]any {
	var env []any
	for n := range 12 {
		env = append(env, map[string]any{"name": fmt.Sprintf("VARIABLE_%d", n), "value": strings.Repeat("v", 40)})
	}
	labels := map[string]any{"app": "frontend", "tier": "web", "env": "prod"}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{
			"name": fmt.Sprintf("frontend-%d", i), "namespace": "shop", "generation": int64(3),
			"uid": "5b1c2d3e-0000-4000-8000-000000000001", "resourceVersion": "123456", "labels": labels,
			"annotations": map[string]any{"note": strings.Repeat("n", 300)},
		},
		"spec": map[string]any{
			"replicas": int64(3), "selector": map[string]any{"matchLabels": map[string]any{"app": "frontend"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": "c", "image": "registry.example/frontend:1.2.3", "env": env,
					"ports": []any{map[string]any{"containerPort": int64(8080), "protocol": "TCP"}},
				}}},
			},
		},
		"status": map[string]any{
			"replicas": int64(3), "readyReplicas": int64(3), "observedGeneration": int64(3),
			"conditions": []any{
				map[string]any{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
				map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
			},
		},
	}
}
