// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"runtime"
	"strings"
	"testing"
)

func TestLua(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a script":          {"function evaluate()\n return {pass = true}\nend", ""},
		"nothing":           {"", ""},
		"calls what is not": {"os.exit(1)", ""},
		"a word too many":   {"function evaluate()\n local = {}\nend", `line 2, column 8, near "=": syntax error`},
		"cut off":           {"function evaluate()", "at its end: syntax error"},
		"text that goes on": {"x = 'abc", "unterminated string"},
		"too long":          {strings.Repeat(" ", MaxLua+1), "it has 65537 bytes, at most 65536 are allowed"},
		"bytes":             {"\x00\xff", "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Lua(tc.text)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// Texts that are checked in the server must not cost it much.
func TestLuaBombs(t *testing.T) {
	for name, text := range map[string]string{
		"parentheses": "x = " + strings.Repeat("(", MaxLua-5),
		"tables":      "x = " + strings.Repeat("{", MaxLua/2-4) + strings.Repeat("}", MaxLua/2-4),
		"statements":  strings.Repeat("a=1 ", MaxLua/4),
		"constants":   "x = {" + strings.Repeat("1,", MaxLua/2-4) + "}",
		"blocks":      strings.Repeat("do ", MaxLua/7) + strings.Repeat("end ", MaxLua/7),
		"operators":   "x = 1" + strings.Repeat("+1", MaxLua/2-4),
		"functions":   strings.Repeat("function a()", MaxLua/16) + strings.Repeat("end ", MaxLua/16),
	} {
		t.Run(name, func(t *testing.T) {
			before := memory()
			if err := Lua(text); err != nil && name != "parentheses" {
				t.Error(err)
			}
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the process grew by %d MiB", grown>>20)
			}
		})
	}
}

func memory() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys)
}
