// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

// Limits that are the same for every evaluation.
const (
	// MaxText is the longest template, in bytes.
	MaxText = 4 << 20
	// MaxData is the most data, in bytes of JSON.
	MaxData = 8 << 20
	// MaxOutput is the most that a template may write, in bytes.
	MaxOutput = 16 << 20
	// MaxMessage is the most that TemplateError.Message has, in bytes.
	MaxMessage = 1 << 10
)

// Template is one evaluation: a Go template and what it sees.
type Template struct {
	// Name says in errors which template is meant, for a human.
	Name string
	// Text of the template.
	Text string
	// Data is the template's dot. It holds what encoding/json can write; whole numbers
	// arrive as int64, others as float64. A key that is not there is an error
	// (missingkey=error), one with a nil value is not.
	Data map[string]any
}
