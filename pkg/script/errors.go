// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"strconv"
)

// The limits that an evaluation can hit and the states in which a pool evaluates
// nothing. Errors wrap them together with the template's or script's name and the limit's
// figure; compare with errors.Is.
var (
	// ErrTimeout means that the evaluation was killed at its wall-clock limit.
	ErrTimeout = errors.New("evaluation took too long")
	// ErrMemory means that the worker got no more memory and died of it.
	ErrMemory = errors.New("evaluation needed too much memory")
	// ErrOutput means that the template wrote more than MaxOutput bytes, or that a script
	// returned more than that.
	ErrOutput = errors.New("evaluation wrote too much output")
	// ErrInput means that the template or script is longer than MaxText, or its data than
	// MaxData.
	ErrInput = errors.New("evaluation was given too much input")
	// ErrWorker means that a worker process could not be started, or ended for a reason
	// that is none of the limits. Trying again may help.
	ErrWorker = errors.New("script worker failed")
	// ErrNotRunning means that the pool's Run has not begun, or has ended.
	ErrNotRunning = errors.New("script workers are not running")
)

// TemplateError says that a template does not parse, or that evaluating it failed.
//
// Message quotes the template: callers that render a Secret must not show it.
type TemplateError struct {
	// Name of the template, as in Template.Name.
	Name string
	// Line of the template, counted from 1; 0 where the position is unknown.
	Line int
	// Message is what text/template, or the function that failed, said; at most
	// MaxMessage bytes.
	Message string
}

func (e *TemplateError) Error() string {
	if e.Line == 0 {
		return "template " + e.Name + ": " + e.Message
	}
	return "template " + e.Name + ", line " + strconv.Itoa(e.Line) + ": " + e.Message
}

// LuaError says that a script does not compile, that it failed, or that what it returned
// is not what it has to return.
//
// Message may quote what the script was given: callers that give it a Secret must not
// show it.
type LuaError struct {
	// Name of the script, as in LuaBatch.Name.
	Name string
	// Line of the script, counted from 1; 0 where the position is unknown.
	Line int
	// Message is what Lua, or the script's own call of error, said; at most MaxMessage
	// bytes.
	Message string
}

func (e *LuaError) Error() string {
	if e.Line == 0 {
		return "script " + e.Name + ": " + e.Message
	}
	return "script " + e.Name + ", line " + strconv.Itoa(e.Line) + ": " + e.Message
}
