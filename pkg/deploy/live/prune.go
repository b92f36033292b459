// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package live

import (
	"slices"
	"strconv"
)

// Without removes the fields that JSON pointers lead to from an object, which is
// written to, and reports whether there were any. Elements of lists are removed last
// one first, so that pointers mean the same whatever their order.
func Without(object map[string]any, pointers []string) bool {
	split := make([][]string, 0, len(pointers))
	for _, pointer := range pointers {
		split = append(split, Tokens(pointer))
	}
	slices.SortFunc(split, func(a, b []string) int { return compareTokens(b, a) })
	removed := false
	for _, tokens := range split {
		if _, ok := without(object, tokens); ok {
			removed = true
		}
	}
	return removed
}

// compareTokens orders pointers, numbers by their value.
func compareTokens(a, b []string) int {
	return slices.CompareFunc(a, b, func(x, y string) int {
		i, errX := strconv.Atoi(x)
		j, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return i - j
		}
		return slices.Compare([]string{x}, []string{y})
	})
}

// without returns what is left of a value.
func without(in any, tokens []string) (any, bool) {
	switch in := in.(type) {
	case map[string]any:
		below, ok := in[tokens[0]]
		if !ok {
			return in, false
		}
		if len(tokens) == 1 {
			delete(in, tokens[0])
			return in, true
		}
		left, removed := without(below, tokens[1:])
		in[tokens[0]] = left
		return in, removed
	case []any:
		index, err := strconv.Atoi(tokens[0])
		if err != nil || index < 0 || index >= len(in) {
			return in, false
		}
		if len(tokens) == 1 {
			return slices.Delete(in, index, index+1), true
		}
		left, removed := without(in[index], tokens[1:])
		in[index] = left
		return in, removed
	}
	return in, false
}
