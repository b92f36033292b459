// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// What one object does to the script is that object's alone.
func TestLuaFailsForOneOfMany(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: DefaultWallLimit})
	const text = `
function evaluate()
  if obj.bad == "error" then error("bad one") end
  if obj.bad == "loop" then while true do end end
  if obj.bad == "memory" then local s = "x" while true do s = s .. s end end
  if obj.bad == "type" then return 1 end
  if obj.bad == "coroutine" then coroutine.wrap(function() error("bad one") end)() end
  if obj.bad == "yield" then coroutine.yield() end
  if obj.bad == "left behind" then left = coroutine.wrap(function() coroutine.yield() end) left() error(left) end
  return {n = obj.n}
end`
	for bad, want := range map[string]error{
		"error": nil, "type": nil, "coroutine": nil, "yield": nil, "left behind": nil, "loop": ErrTimeout, "memory": ErrMemory,
	} {
		t.Run(bad, func(t *testing.T) {
			batch := LuaBatch{Name: "test", Text: text, Argument: "obj"}
			for i := range 300 {
				batch.Values = append(batch.Values, map[string]any{"n": int64(i)})
			}
			batch.Values[150].(map[string]any)["bad"] = bad
			answers, err := pool.EvaluateLua(t.Context(), batch)
			if err != nil || len(answers) != 300 {
				t.Fatalf("%d answers, %v", len(answers), err)
			}
			for i, answer := range answers {
				_, own := errors.AsType[*LuaError](answer.Err)
				switch {
				case i != 150:
					if answer.Err != nil || answer.Result["n"] != int64(i) {
						t.Fatalf("answer %d is %v, %v", i, answer.Result, answer.Err)
					}
				case bad == "memory" && errors.Is(answer.Err, ErrTimeout):
					// On a slow machine the time is over before the memory is.
				case want == nil && !own, want != nil && !errors.Is(answer.Err, want):
					t.Errorf("the bad one: %v, want %v", answer.Err, want)
				}
			}
		})
	}
}

// A script that hangs for every object does not hold a worker for as many seconds.
func TestLuaBatchIsGivenUp(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: DefaultWallLimit / 4})
	batch := LuaBatch{Name: "test", Text: "while true do end", Argument: "obj", Values: make([]any, 1000)}
	answers, err := pool.EvaluateLua(t.Context(), batch)
	if err != nil || len(answers) != 1000 {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for i, answer := range answers {
		if !errors.Is(answer.Err, ErrTimeout) {
			t.Fatalf("answer %d: %v", i, answer.Err)
		}
	}
	if last := answers[999].Err.Error(); !strings.Contains(last, "given up after 2 evaluations") {
		t.Error(last)
	}
}

func TestLuaLimitsOfInputAndOutput(t *testing.T) {
	pool, _ := runPool(t, Options{})
	big := strings.Repeat("x", MaxData/3)
	batch := LuaBatch{Name: "test", Text: returning("#obj.s"), Argument: "obj"}
	for range 7 { // more than one request takes
		batch.Values = append(batch.Values, map[string]any{"s": big})
	}
	batch.Values[3] = map[string]any{"s": strings.Repeat("x", MaxData)}
	answers, err := pool.EvaluateLua(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range answers {
		if i == 3 && !errors.Is(answer.Err, ErrInput) || i != 3 && answer.Result["v"] != int64(len(big)) {
			t.Errorf("answer %d: %v, %v", i, answer.Result, answer.Err)
		}
	}
	for name, tc := range map[string]struct {
		batch LuaBatch
		want  error
	}{
		"text":    {LuaBatch{Text: strings.Repeat(" ", MaxText+1), Values: []any{nil}}, ErrInput},
		"name":    {LuaBatch{Name: strings.Repeat(" ", MaxMessage+1), Values: []any{nil}}, ErrInput},
		"globals": {LuaBatch{Globals: map[string]any{"g": strings.Repeat(" ", MaxData)}, Values: []any{nil}}, ErrInput},
	} {
		if _, err := pool.EvaluateLua(t.Context(), tc.batch); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	for name, text := range map[string]string{
		"bytes":    returning(fmt.Sprintf(`("x"):rep(%d)`, MaxOutput)),
		"a list":   fmt.Sprintf(`function evaluate() local t = {} for i = 1, %d do t[i] = 0 end return {v = t} end`, maxLuaElements),
		"a bush":   `function bush(n) if n == 0 then return 1 end return {bush(n-1), bush(n-1)} end function evaluate() return {v = bush(17)} end`,
		"the same": `function evaluate() local t = {} for i = 1, 60 do t = {a = t, b = t} end return t end`,
	} {
		before := memory()
		if err := evaluateLua(t, pool, text, nil).Err; !errors.Is(err, ErrOutput) {
			t.Errorf("%s: %v, want %v", name, err, ErrOutput)
		}
		if grown := memory() - before; grown > 64<<20 {
			t.Errorf("%s: the parent grew by %d MiB", name, grown>>20)
		}
	}
}

func TestLuaOutsideRun(t *testing.T) {
	pool := NewPool(Options{Command: command("script-worker")})
	if _, err := pool.EvaluateLua(t.Context(), LuaBatch{Values: []any{nil}}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before Run: %v, want %v", err, ErrNotRunning)
	}
	pool, _ = runPool(t, Options{})
	if answers, err := pool.EvaluateLua(t.Context(), LuaBatch{}); err != nil || len(answers) != 0 {
		t.Errorf("nothing to evaluate: %v, %v", answers, err)
	}
	if _, err := pool.EvaluateLua(t.Context(), LuaBatch{Values: []any{math.Inf}}); err == nil {
		t.Error("a function can be passed to a script")
	}
}
