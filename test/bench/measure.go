// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Measure is one line of output: values and goals in the order in which they
// were added. The zero value with a name is ready to use.
type Measure struct {
	Name   string
	values []value
	goals  []value
	missed bool
}

// value is a key and how it is printed, which is valid JSON.
type value struct {
	key, text string
}

// Text adds what a measure is about; it must contain no space.
func (m *Measure) Text(key, text string) *Measure {
	m.values = append(m.values, value{key, strconv.Quote(text)})
	return m
}

// Number adds a figure without a goal, with so many decimals.
func (m *Measure) Number(key string, figure float64, decimals int) *Measure {
	m.values = append(m.values, value{key, strconv.FormatFloat(figure, 'f', decimals, 64)})
	return m
}

// AtMost adds a figure with a goal. What counts is the figure as measured and
// not as printed.
func (m *Measure) AtMost(key string, figure, goal float64, decimals int) *Measure {
	m.Number(key, figure, decimals)
	m.goals = append(m.goals, value{"goal_" + key, strconv.FormatFloat(goal, 'f', -1, 64)})
	// Written so that NaN, which is no measurement, misses.
	if !(figure <= goal) {
		m.missed = true
	}
	return m
}

// AtLeast adds a figure with a goal that it has to reach.
func (m *Measure) AtLeast(key string, figure, goal float64, decimals int) *Measure {
	m.Number(key, figure, decimals)
	m.goals = append(m.goals, value{"goal_" + key, strconv.FormatFloat(goal, 'f', -1, 64)})
	if !(figure >= goal) {
		m.missed = true
	}
	return m
}

// Met reports whether all goals are met.
func (m *Measure) Met() bool { return !m.missed }

func (m *Measure) outcome() string {
	if m.Met() {
		return "met"
	}
	return "missed"
}

// String is the line.
func (m *Measure) String() string {
	var line strings.Builder
	line.WriteString(m.Name)
	for _, v := range append(append([]value{}, m.values...), m.goals...) {
		text := v.text
		if unquoted, err := strconv.Unquote(text); err == nil {
			text = unquoted
		}
		fmt.Fprintf(&line, " %s=%s", v.key, text)
	}
	return line.String() + " goal=" + m.outcome()
}

// MarshalJSON is the line as an object whose members have the line's order.
func (m *Measure) MarshalJSON() ([]byte, error) {
	var object bytes.Buffer
	fmt.Fprintf(&object, `{"name":%q`, m.Name)
	for _, v := range append(append([]value{}, m.values...), m.goals...) {
		text := v.text
		if !json.Valid([]byte(text)) {
			text = "null" // no such number in JSON
		}
		fmt.Fprintf(&object, `,%q:%s`, v.key, text)
	}
	fmt.Fprintf(&object, `,"goal":%q}`, m.outcome())
	return object.Bytes(), nil
}
