// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// luaRunes are the functions of Sveltos' module runes. Runes and bytes are numbers,
// positions count from 1.
func luaRunes() map[string]any {
	return map[string]any{
		"iscontrol": unicode.IsControl, "isdigit": unicode.IsDigit, "isgraphic": unicode.IsGraphic,
		"isletter": unicode.IsLetter, "islower": unicode.IsLower, "ismark": unicode.IsMark,
		"isnumber": unicode.IsNumber, "isprint": unicode.IsPrint, "ispunct": unicode.IsPunct,
		"isspace": unicode.IsSpace, "issymbol": unicode.IsSymbol, "istitle": unicode.IsTitle,
		"isupper": unicode.IsUpper, "tolower": unicode.ToLower, "totitle": unicode.ToTitle,
		"toupper": unicode.ToUpper, "validrune": utf8.ValidRune, "isvalidutf8": utf8.ValidString,
		"runecount": utf8.RuneCountInString, "containsrune": strings.ContainsRune,

		"isinrange":     func(r, low, high rune) bool { return low <= r && r <= high },
		"bytestorune":   func(b []byte) any { return validRune(utf8.DecodeRune(b)) },
		"bytetostring":  func(b []byte) string { return string(b) },
		"reverserunes":  reverseRunes,
		"runeat":        runeAt,
		"runeindex":     runeIndex,
		"runerange":     runeRange,
		"runeslice":     func(s string) []rune { return []rune(s) },
		"runesplit":     func(s string, separator rune) []string { return strings.Split(s, string(separator)) },
		"runestring":    func(runes ...rune) string { return string(runes) },
		"runetobytes":   func(runes []rune) []byte { return []byte(string(runes)) },
		"runewidth":     runeWidth,
		"stringtobytes": func(s string) []byte { return []byte(s) },
	}
}

// validRune is nil for what is not UTF-8.
func validRune(r rune, _ int) any {
	if r == utf8.RuneError {
		return nil
	}
	return r
}

func reverseRunes(s string) string {
	runes := []rune(s)
	slices.Reverse(runes)
	return string(runes)
}

// runeAt is the rune that begins at a byte.
func runeAt(s string, position int) any {
	if position < 1 || position > len(s) {
		return nil
	}
	return validRune(utf8.DecodeRuneInString(s[position-1:]))
}

// runeIndex is the place of a rune among the runes of s, from that of start on; nil if it
// is not there.
func runeIndex(s string, wanted rune, start ...int) any {
	runes := []rune(s)
	from := 0
	if len(start) > 0 {
		from = min(max(start[0]-1, 0), len(runes))
	}
	if i := slices.Index(runes[from:], wanted); i >= 0 {
		return from + i + 1
	}
	return nil
}

// runeRange is the part of s from the first rune to the one before the second, or to the
// end.
func runeRange(s string, bounds ...int) string {
	runes := []rune(s)
	from, to := 0, len(runes)
	if len(bounds) > 0 {
		from = min(max(bounds[0]-1, 0), len(runes))
	}
	if len(bounds) > 1 && bounds[1] >= 0 {
		to = min(max(bounds[1]-1, 0), len(runes))
	}
	return string(runes[from:max(from, to)])
}

func runeWidth(r rune) any {
	if width := utf8.RuneLen(r); width > 0 {
		return width
	}
	return nil
}
