// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"errors"
	"unicode/utf8"

	"github.com/google/cel-go/interpreter"
)

// isCostError recognises that the cost limit ended an evaluation.
func isCostError(err error) bool {
	cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err)
	return ok && cancelled.Cause == interpreter.CostLimitExceeded
}

// shorten cuts s to at most MaxMessage bytes, between characters.
func shorten(s string) string {
	if len(s) <= MaxMessage {
		return s
	}
	const ellipsis = "…"
	end := MaxMessage - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}
