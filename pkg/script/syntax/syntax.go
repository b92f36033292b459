// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package syntax says whether a script can be read, without running any of it, so that a
// mistake is told to who makes it and not found out at night.
package syntax

import (
	"errors"
	"fmt"
	"strings"

	"github.com/yuin/gopher-lua/parse"
)

// MaxLua is the longest script that is checked, and accepted in an object, in bytes. What
// the parser keeps of a script may be several hundred times as large as its text.
const MaxLua = 64 << 10

// Lua parses a script and returns what is wrong with it, with the line; nil if nothing
// is. The text of the script is in the error only as far as it is the word that could not
// be read.
func Lua(text string) error {
	if len(text) > MaxLua {
		return fmt.Errorf("it has %d bytes, at most %d are allowed", len(text), MaxLua)
	}
	_, err := parse.Parse(strings.NewReader(text), "lua")
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*parse.Error](err); ok {
		if own.Pos.Line == parse.EOF {
			return fmt.Errorf("at its end: %s", own.Message)
		}
		return fmt.Errorf("line %d, column %d, near %q: %s", own.Pos.Line, own.Pos.Column, own.Token, own.Message)
	}
	return fmt.Errorf("it is not Lua: %w", err)
}
