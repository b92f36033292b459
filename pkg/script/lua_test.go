// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// healthyDeployment is the kind of script that users write.
const healthyDeployment = `
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

// deployment is an object of 2 KB of JSON.
func deployment(i int) map[string]any {
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

// evaluateLua evaluates a script with one value in obj.
func evaluateLua(t *testing.T, pool *Pool, text string, value any) LuaAnswer {
	t.Helper()
	answers, err := pool.EvaluateLua(t.Context(), LuaBatch{Name: "test", Text: text, Argument: "obj", Values: []any{value}})
	if err != nil {
		return LuaAnswer{Err: err}
	}
	return answers[0]
}

// returning is a script that returns a table with field v.
func returning(expression string) string {
	return "function evaluate() return {v = " + expression + "} end"
}

func TestLua(t *testing.T) {
	pool, _ := runPool(t, Options{})
	object := map[string]any{
		"name": "x", "whole": int64(3), "half": 0.5, "yes": true, "none": nil,
		"list": []any{"a", nil, int64(2)}, "map": map[string]any{"b": int64(1), "a": int64(2)},
		"metadata": map[string]any{"labels": map[string]any{"l": "1"}, "annotations": map[string]any{"a": "2"}},
	}
	for expression, want := range map[string]any{
		`obj.name`:                      "x",
		`obj.whole + 1`:                 int64(4),
		`obj.half`:                      0.5,
		`obj.yes`:                       true,
		`obj.none`:                      nil,
		`#obj.list`:                     int64(2),
		`obj.list`:                      []any{"a", int64(2)},
		`obj.map`:                       map[string]any{"a": int64(2), "b": int64(1)},
		`{}`:                            map[string]any{},
		`{[2]=1}`:                       []any{nil, int64(1)},
		`"\255"`:                        "\xff",
		`2^53`:                          int64(1 << 53),
		`1e300`:                         1e300,
		`("abc"):upper()`:               "ABC",
		`string.format("%d-%s", 3, {})`: "3-table",
		`tostring(evaluate)`:            "function",
		`tostring(nil)`:                 "nil",
		`tostring(setmetatable({}, {__tostring = function() return "mine" end}))`: "mine",
		`table.concat({"a", "b"}, ",")`:                                           "a,b",
		`math.floor(2.7)`:                                                         int64(2),
		`(print("into the void"))`:                                                nil,
		`select(2, pcall(error, "caught", 0))`:                                    "caught",
		`(coroutine.wrap(function() coroutine.yield(7) end)())`:                   int64(7),
		`getLabel(obj, "l")`:                                                      "1",
		`getLabel(obj, "nope")`:                                                   nil,
		`getAnnotation(obj, "a")`:                                                 "2",
		`getLabel({}, "l")`:                                                       nil,
		`getResource(obj, "map").a`:                                               int64(2),
		`base64Encode("abc")`:                                                     "YWJj",
		`base64Decode("YWJj")`:                                                    "abc",
		`(base64Decode("%"))`:                                                     nil,
		`require("json").encode({b = 1, a = {}, c = "<"})`:                        `{"a":[],"b":1,"c":"<"}`,
		`require("json").decode('{"a": [1, "x"]}')`:                               map[string]any{"a": []any{int64(1), "x"}},
		`(require("json").decode("{"))`:                                           nil,
		`require("json").toYAML({a = {1}})`:                                       "a:\n- 1\n",
		`require("json").fromYAML("a: 1")`:                                        map[string]any{"a": int64(1)},
		`require("strings").Split("a,b", ",")`:                                    []any{"a", "b"},
		`require("strings").TrimSuffix("a.yaml", ".yaml")`:                        "a",
		`require("strings").Map(function(r) return r + 1 end, "ab")`:              "bc",
		`require("strings").FieldsFunc("a1b", function(r) return r < 58 end)`:     []any{"a", "b"},
		`require("strings").Join({}, ",")`:                                        "",
		`require("runes").runecount("aé")`:                                        int64(2),
		`require("runes").reverserunes("aé")`:                                     "éa",
		`require("runes").isdigit(49)`:                                            true,
		`require("runes").runerange("hello", 1, 3)`:                               "he",
		`require("runes").runeindex("hello", 108, 4)`:                             int64(4),
		`require("runes").runeat("é", 9)`:                                         nil,
		`require("runes").bytetostring({104, 105})`:                               "hi",
		`require("runes").stringtobytes("hi")`:                                    []any{int64(104), int64(105)},
		`require("sprig").trunc(2, "abc")`:                                        "ab",
		`require("sprig").uniq({"a", "a"})`:                                       []any{"a"},
		`require("sprig").add(1, 2)`:                                              int64(3),
	} {
		t.Run(expression, func(t *testing.T) {
			answer := evaluateLua(t, pool, returning(expression), object)
			if answer.Err != nil {
				t.Fatal(answer.Err)
			}
			if diff := cmp.Diff(want, answer.Result["v"]); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLuaCallsEvaluate(t *testing.T) {
	pool, _ := runPool(t, Options{})
	resources := []any{deployment(0), deployment(1)}
	answers, err := pool.EvaluateLua(t.Context(), LuaBatch{
		Name: "test", Argument: "resources", Values: []any{resources}, Globals: map[string]any{"metrics": map[string]any{"load": 0.5}},
		Text: `function evaluate(r) return {pass = r == resources and #r == 2 and metrics.load == 0.5, message = r[2].metadata.name} end`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if pass, message, err := answers[0].Verdict("pass"); !pass || message != "frontend-1" || err != nil {
		t.Errorf("Verdict() = %t, %q, %v", pass, message, err)
	}
}

// What is not there must not come back with a new version of the library.
func TestLuaHasNoWayOut(t *testing.T) {
	pool, _ := runPool(t, Options{})
	answer := evaluateLua(t, pool, `
function evaluate()
  local names = {}
  for name, value in pairs(_G) do
    if type(value) == "table" and name ~= "_G" and name ~= "obj" then
      for field in pairs(value) do table.insert(names, name .. "." .. field) end
    else
      table.insert(names, name)
    end
  end
  table.sort(names)
  return {names = names}
end`, map[string]any{})
	if answer.Err != nil {
		t.Fatal(answer.Err)
	}
	want := strings.Fields(`_G _VERSION assert base64Decode base64Encode
		coroutine.create coroutine.resume coroutine.running coroutine.status coroutine.wrap coroutine.yield
		error evaluate getAnnotation getLabel getResource getmetatable ipairs
		math.abs math.acos math.asin math.atan math.atan2 math.ceil math.cos math.cosh math.deg math.exp math.floor
		math.fmod math.frexp math.huge math.ldexp math.log math.log10 math.max math.min math.mod math.modf math.pi
		math.pow math.rad math.sin math.sinh math.sqrt math.tan math.tanh
		next obj pairs pcall print rawequal rawget rawset require select setmetatable
		string.byte string.char string.find string.format string.gfind string.gmatch string.gsub string.len string.lower
		string.match string.rep string.reverse string.sub string.upper
		table.concat table.getn table.insert table.maxn table.remove table.sort
		tonumber tostring type unpack xpcall`)
	var got []string
	for _, name := range answer.Result["names"].([]any) {
		got = append(got, name.(string))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("globals (-want +got):\n%s", diff)
	}
	if err := evaluateLua(t, pool, returning(`require("os")`), nil).Err; err == nil || !strings.Contains(err.Error(), "there is no module") {
		t.Errorf(`require("os"): %v`, err)
	}
}

// One evaluation must leave nothing to the next: not in globals, upvalues, libraries,
// modules or the methods of strings.
func TestLuaEvaluationsShareNothing(t *testing.T) {
	pool, _ := runPool(t, Options{Workers: 1})
	const text = `
seen = (seen or 0) + 1
local upvalue = 0
function evaluate()
  upvalue = upvalue + 1
  local traces = {seen, upvalue, left or "", string.left or "", require("json").left or "", ("").left or "", obj.left or ""}
  left, string.left, obj.left, metrics.left, require("json").left = 1, 1, 1, 1, 1
  getmetatable("").__index.left = 1
  string.upper, math.floor, evaluate = nil, nil, nil
  _G.table, _G.pairs, _G.left = nil, nil, 1
  setmetatable(_G, {__index = function() return 1 end})
  return {traces = traces, metrics = metrics.left == 1}
end`
	shared := map[string]any{}
	batch := LuaBatch{Name: "test", Text: text, Argument: "obj", Values: []any{shared, shared, shared}, Globals: map[string]any{"metrics": map[string]any{}}}
	for range 2 { // of two tenants, in one worker
		answers, err := pool.EvaluateLua(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		want := []any{int64(1), int64(1), "", "", "", "", ""}
		for i, answer := range answers {
			if answer.Err != nil {
				t.Fatal(answer.Err)
			}
			if diff := cmp.Diff(want, answer.Result["traces"]); diff != "" {
				t.Errorf("evaluation %d finds traces of others (-want +got):\n%s", i, diff)
			}
		}
	}
	if len(shared) != 0 {
		t.Errorf("the caller's data was changed to %v", shared)
	}
}

// pairs walks what a script is given in one order.
func TestLuaIsRepeatable(t *testing.T) {
	pool, _ := runPool(t, Options{})
	object := map[string]any{}
	for i := range 100 {
		object[fmt.Sprintf("key%02d", i)] = int64(i)
	}
	const text = `function evaluate() local s = "" for k, v in pairs(obj) do s = s .. k .. "=" .. v .. tostring({}) .. " " end return {s = s} end`
	first := evaluateLua(t, pool, text, object)
	if first.Err != nil || !strings.HasPrefix(first.Result["s"].(string), "key00=0table key01=1table ") {
		t.Fatalf("got %v, %v", first.Result, first.Err)
	}
	for range 20 {
		if again := evaluateLua(t, pool, text, object); again.Result["s"] != first.Result["s"] {
			t.Fatalf("got %v, before %v", again.Result, first.Result)
		}
	}
}

func TestLuaErrorsNameTheLine(t *testing.T) {
	pool, _ := runPool(t, Options{})
	for name, tc := range map[string]struct{ text, want string }{
		"syntax":             {"\nfunction evaluate(\n", "script test: at its end: syntax error"},
		"unknown word":       {"\nfunction evaluate() local = {} end", "script test, line 2: near '=': syntax error"},
		"no evaluate":        {"x = 1", "script test: the script has no function evaluate"},
		"evaluate is a word": {"evaluate = 1", "script test: the script has no function evaluate"},
		"runtime":            {"function evaluate()\n return obj.spec.x\nend", "script test, line 2: attempt to index a non-table object(nil) with key 'x'"},
		"when it is loaded":  {"\nerror('not today')", "script test, line 2: not today"},
		"raised text":        {"function evaluate() error('no: way', 0) end", "script test: no: way"},
		"raised table":       {"function evaluate() error({message = 'no way'}) end", "script test: no way"},
		"raised nothing":     {"function evaluate() error({}) end", "script test: the script raised a table"},
		"a Go panic":         {"function evaluate() return require('strings').Repeat('x', -1) end", "script test: strings: negative Repeat count"},
		"wrong argument":     {"function evaluate() return require('strings').ToUpper({}) end", "script test, line 1: bad argument #1 to ToUpper (string expected, got a table)"},
		"no return":          {"function evaluate() end", "script test: evaluate has to return a table with named fields, not nil"},
		"a bool":             {"function evaluate() return true end", "script test: evaluate has to return a table with named fields, not a bool"},
		"a list":             {"function evaluate() return {1} end", "script test: evaluate has to return a table with named fields, not a list"},
		"a function":         {"function evaluate() return {f = print} end", "script test: evaluate returned a table with a function in it"},
		"a cycle":            {"function evaluate() local t = {} t.t = t return t end", "script test: evaluate returned tables nested deeper than 100"},
		"no number":          {"function evaluate() return {n = 0/0} end", "script test: evaluate returned NaN, which is no number of JSON's"},
		"endless recursion":  {"function evaluate() return {evaluate()} end", "script test, line 1: stack overflow"},
	} {
		t.Run(name, func(t *testing.T) {
			err := evaluateLua(t, pool, tc.text, map[string]any{}).Err
			if _, ok := errors.AsType[*LuaError](err); !ok || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %T %v, want *LuaError %s", err, err, tc.want)
			}
		})
	}
}

func TestLuaVerdicts(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  LuaAnswer
		yes     bool
		message string
		err     string
	}{
		"yes":              {LuaAnswer{Result: map[string]any{"pass": true}}, true, "", ""},
		"no, and why":      {LuaAnswer{Result: map[string]any{"pass": false, "message": "because"}}, false, "because", ""},
		"nothing":          {LuaAnswer{name: "n", Result: map[string]any{}}, false, "", "script n: evaluate has to return a table with a bool pass, not nil"},
		"text":             {LuaAnswer{name: "n", Result: map[string]any{"pass": "yes"}}, false, "", "not a string"},
		"a number as text": {LuaAnswer{name: "n", Result: map[string]any{"pass": true, "message": int64(1)}}, true, "", "message of what evaluate returns has to be a string, not a number"},
		"an error":         {LuaAnswer{Err: ErrTimeout}, false, "", ErrTimeout.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			yes, message, err := tc.answer.Verdict("pass")
			if yes != tc.yes || message != tc.message || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %t, %q, %v", yes, message, err)
			}
		})
	}
}
