// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// evaluate renders one template. Template, functions and data are made anew for each
// call: functions like set change the data in place, and nothing of that may be seen by
// the next request.
func evaluate(req request, text string) ([]byte, result) {
	var data map[string]any
	// The decoder of API objects: whole numbers stay int64, so that {{ 1000000 }} of
	// the data does not print as 1e+06.
	if err := utiljson.Unmarshal(req.Data, &data); err != nil {
		return nil, failed(req.Name, fmt.Errorf("decoding the template's data: %w", err))
	}
	parsed, err := template.New(req.Name).Option("missingkey=error").Funcs(funcMap()).Funcs(resourceFuncs(data)).Parse(text)
	if err != nil {
		return nil, failed(req.Name, err)
	}
	var buffer limitedBuffer
	if err := parsed.Execute(&buffer, data); err != nil {
		if errors.Is(err, errOutputExceeded) {
			return nil, result{OutputExceeded: true}
		}
		return nil, failed(req.Name, err)
	}
	return buffer.Bytes(), result{}
}

var errOutputExceeded = errors.New("output limit reached")

// limitedBuffer fails the write that would exceed MaxOutput, which ends the evaluation.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxOutput {
		return 0, errOutputExceeded
	}
	return b.Buffer.Write(p)
}

func failed(name string, err error) result {
	line, message := position(name, err.Error())
	return result{Template: &TemplateError{Name: name, Line: line, Message: shorten(message, MaxMessage)}}
}

// position takes the name and the position off an error of text/template, which has the
// form "template: NAME:LINE: MESSAGE" from the parser and
// "template: NAME:LINE:COLUMN: executing "NAME" at <…>: MESSAGE" from the evaluation.
func position(name, message string) (line int, rest string) {
	tail, found := strings.CutPrefix(message, "template: "+name+":")
	if !found {
		return 0, strings.TrimPrefix(message, "template: ")
	}
	number, tail, found := strings.Cut(tail, ":")
	line, err := strconv.Atoi(number)
	if !found || err != nil {
		return 0, message
	}
	if column, after, found := strings.Cut(tail, ":"); found && isNumber(column) {
		tail = after
	}
	tail = strings.TrimSpace(tail)
	return line, strings.TrimPrefix(tail, fmt.Sprintf("executing %q ", name))
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// shorten cuts s to at most limit bytes, between characters.
func shorten(s string, limit int) string {
	const ellipsis = "…"
	if len(s) <= limit {
		return s
	}
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}
