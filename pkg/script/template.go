// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/json"
	"fmt"
	"io"
)

// Limits that are the same for every evaluation.
const (
	// MaxText is the longest template or script, in bytes.
	MaxText = 4 << 20
	// MaxData is the most data, in bytes: of JSON for a template, of CBOR for one
	// evaluation of a script.
	MaxData = 8 << 20
	// MaxOutput is the most that a template may write, or all evaluations of a batch
	// may return together, in bytes.
	MaxOutput = 16 << 20
	// MaxMessage is the most that the Message of a TemplateError or a LuaError has, in
	// bytes.
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

// templateTask asks a worker for the output of a template.
type templateTask struct {
	head, text []byte

	answer result
	output []byte
}

func (x *templateTask) frames() [][]byte { return [][]byte{x.head, x.text} }

func (x *templateTask) receive(out io.Reader, _ func()) (err error) {
	x.answer = result{}
	if err := readJSON(out, maxHeader, &x.answer); err != nil || x.answer != (result{}) {
		return err
	}
	x.output, err = readFrame(out, MaxOutput)
	return err
}

// result is what the caller is told.
func (x *templateTask) result() (string, error) {
	switch {
	case x.answer.Template != nil:
		return "", x.answer.Template
	case x.answer.OutputExceeded:
		return "", fmt.Errorf("%w (limit %d bytes)", ErrOutput, MaxOutput)
	}
	return string(x.output), nil
}

// head encodes what goes before the text, and checks the limits of both.
func (t Template) head() ([]byte, error) {
	if err := checkText("template", t.Name, t.Text); err != nil {
		return nil, err
	}
	data, err := json.Marshal(t.Data)
	if err != nil {
		return nil, fmt.Errorf("encoding the template's data: %w", err)
	}
	if len(data) > MaxData {
		return nil, fmt.Errorf("%w: its data has %d bytes of JSON, at most %d are allowed", ErrInput, len(data), MaxData)
	}
	head, err := json.Marshal(request{Name: t.Name, Data: data})
	if err != nil {
		return nil, fmt.Errorf("encoding the template's data: %w", err)
	}
	return head, nil
}

// checkText checks the limits of a template or script.
func checkText(kind, name, text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("%w: the %s has %d bytes, at most %d are allowed", ErrInput, kind, len(text), MaxText)
	}
	if len(name) > MaxMessage {
		return fmt.Errorf("%w: the %s's name has %d bytes, at most %d are allowed", ErrInput, kind, len(name), MaxMessage)
	}
	return nil
}
