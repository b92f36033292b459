// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"strings"
	"testing"
)

// luaBombs are bodies of evaluate that want more than anybody may have.
func luaBombs() map[string]string {
	return map[string]string{
		"endless loop":              `while true do end`,
		"long string":               `return {s = #string.rep("x", 2^30)}`,
		"a pattern of 28":           `local a = ("a"):rep(28) return {f = string.find(a, ("a*"):rep(28) .. "b")}`,
		"a pattern of 14":           `local a = ("a"):rep(12) for i = 1, 1000 do string.find(a, ("a*"):rep(14) .. "b") end`,
		"gsub":                      `return {s = #("x"):rep(2000):gsub(".", function() return ("y"):rep(1e6) end)}`,
		"sparse list":               `local t = {} t[67108863] = 1 while true do end`,
		"doubling a string":         `local s = "x" for i = 1, 60 do s = s .. s end`,
		"doubling a table":          `local t = {} for i = 1, 1e12 do t[i] = {} end`,
		"table.concat":              `local t = {} for i = 1, 1e6 do t[i] = ("x"):rep(1e6) end return {s = table.concat(t)}`,
		"string.format":             `for i = 1, 1e9 do local s = string.format("%999999d", i) end`,
		"coroutines":                `local t = {} while true do t[#t+1] = coroutine.create(function() end) coroutine.resume(t[#t]) end`,
		"recursion in pcall":        `local function f() pcall(f) pcall(f) end f() while true do f() end`,
		"an error that repeats":     `while true do pcall(error, ("x"):rep(1e6)) end`,
		"unpack":                    `return {unpack({}, 1, 1e9)}`,
		"strings.Repeat":            `return {s = #require("strings").Repeat("x", 2^40)}`,
		"sprig":                     `return {s = #require("sprig").untilStep(0, 2000000000, 1)}`,
		"JSON":                      `local s = "\"" while true do s = require("json").encode(s) end`,
		"metamethods":               `local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. k] end return t.x`,
		"sort that never agrees":    `while true do local t = {} for i = 1, 1e5 do t[i] = i end table.sort(t, function() return true end) end`,
		"a tower of closures":       `local f = function() end while true do local g = f f = function() return g() end end`,
		"YAML that names itself":    `return {v = require("json").fromYAML("a: &a [x,x,x,x,x,x,x,x,x]\n" .. "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n").g.x}`,
		"all keys of a large table": `local t = {} for i = 1, 1e7 do t["k" .. i] = i end return t`,
	}
}

// Each ends at some limit, its neighbour is answered meanwhile, and the server's memory
// hardly moves.
func TestLuaBombs(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: DefaultWallLimit})
	neighbour := func(t *testing.T) {
		t.Helper()
		answer := evaluateLua(t, pool, healthyDeployment, deployment(1))
		if healthy, _, err := answer.Verdict("healthy"); !healthy || err != nil {
			t.Errorf("the neighbour was answered %t, %v", healthy, err)
		}
	}
	neighbour(t)
	for name, body := range luaBombs() {
		t.Run(name, func(t *testing.T) {
			before := memory()
			exploded := make(chan error)
			go func() {
				exploded <- evaluateLua(t, pool, "function evaluate() "+body+" end", nil).Err
			}()
			neighbour(t)
			err := <-exploded
			_, refused := errors.AsType[*LuaError](err)
			if !refused && !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrMemory) && !errors.Is(err, ErrOutput) {
				t.Errorf("got %v, want a limit's error", err)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the parent grew by %d MiB", grown>>20)
			}
		})
	}
}

// Texts that are bombs for the compiler.
func TestLuaTextBombs(t *testing.T) {
	pool, _ := runPool(t, Options{WallLimit: DefaultWallLimit})
	for name, text := range map[string]string{
		"deep parentheses":  "function evaluate() return " + strings.Repeat("(", MaxText/4) + "1" + strings.Repeat(")", MaxText/4) + " end",
		"deep tables":       "x = " + strings.Repeat("{", MaxText/4) + strings.Repeat("}", MaxText/4),
		"many statements":   strings.Repeat("a=1 ", MaxText/4),
		"many constants":    "x = {" + strings.Repeat("'a',", MaxText/5) + "}",
		"a long operation":  "x = 1" + strings.Repeat("+1", MaxText/3),
		"nothing that ends": "x = [[" + strings.Repeat("x", MaxText/2),
	} {
		t.Run(name, func(t *testing.T) {
			before := memory()
			err := evaluateLua(t, pool, text, nil).Err
			_, refused := errors.AsType[*LuaError](err)
			if !refused && !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrMemory) {
				t.Errorf("got %v, want a limit's error", err)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the parent grew by %d MiB", grown>>20)
			}
		})
	}
}
