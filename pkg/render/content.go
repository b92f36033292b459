// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/muster-project/muster/pkg/script"
)

// contentError says what is wrong with content. Its parts are kept apart because only
// what and line may be shown if the content is a Secret's.
type contentError struct {
	// what is wrong, in words of this package alone.
	what string
	// line of the document, counted from 1; 0 where it is unknown.
	line int
	// detail may quote the content.
	detail string
	// reason is the sentinel that the error stands for; ErrInvalid if nil.
	reason error
}

func (e *contentError) Error() string {
	var b strings.Builder
	b.WriteString(e.what)
	if e.line > 0 {
		fmt.Fprintf(&b, ", line %d", e.line)
	}
	if e.detail != "" {
		fmt.Fprintf(&b, ": %s", clip(e.detail))
	}
	return b.String()
}

func (e *contentError) Unwrap() error {
	if e.reason == nil {
		return ErrInvalid
	}
	return e.reason
}

// maxQuote is how much of the content an error shows in one piece, in bytes: errors end
// up in conditions and events.
const maxQuote = 256

func clip(s string) string {
	if len(s) <= maxQuote {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuote], "") + "…"
}

// in returns the error with the place in front where it was found.
func (e *contentError) in(place string) *contentError {
	inner := *e
	inner.what = place + e.what
	return &inner
}

// tooLarge is the error of something that has more bytes than it may.
func tooLarge(what string, size, limit int) error {
	return &contentError{what: fmt.Sprintf("%s has %d bytes, at most %d are allowed", what, size, limit), reason: ErrTooLarge}
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntaxError takes the line off an error of the YAML parser.
func syntaxError(err error) error {
	detail := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &contentError{what: "not valid YAML"}
	if at := yamlLine.FindStringSubmatchIndex(detail); at != nil && at[0] == 0 {
		e.line, _ = strconv.Atoi(detail[at[2]:at[3]]) // digits; 0 where they are too many
		detail = detail[at[1]:]
	}
	e.detail = detail
	return e
}

// Redactable is an error that can say what is wrong without quoting any content.
type Redactable interface {
	error
	WithoutContent() error
}

const withheld = "the details are withheld because the source is a Secret"

// WithoutContent returns err without anything that may quote what was rendered: for
// errors about a Secret, or about values that were taken from one. What remains is which
// limit was hit, or what kind of thing is wrong and the line.
func WithoutContent(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[Redactable](err); ok {
		return e.WithoutContent()
	}
	if e, ok := errors.AsType[*contentError](err); ok {
		bare := *e
		if bare.detail != "" {
			bare.detail = withheld
		}
		return &bare
	}
	if e, ok := errors.AsType[*script.TemplateError](err); ok {
		return &script.TemplateError{Name: e.Name, Line: e.Line, Message: withheld}
	}
	if e, ok := errors.AsType[*script.LuaError](err); ok {
		return &script.LuaError{Name: e.Name, Line: e.Line, Message: withheld}
	}
	for _, harmless := range []error{
		script.ErrTimeout, script.ErrMemory, script.ErrOutput, script.ErrInput, script.ErrWorker,
		script.ErrNotRunning, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, harmless) {
			return harmless
		}
	}
	return errors.New(withheld)
}
