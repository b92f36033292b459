// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// LuaBatch is one script and what it is to be evaluated with, value by value.
type LuaBatch struct {
	// Name says in errors which script is meant, for a human.
	Name string
	// Text of the script. It is run once for each value, and then its function evaluate
	// is called: nothing that one evaluation leaves behind is there for the next.
	Text string
	// Argument is the name of the global that holds the value, which is also the only
	// argument of evaluate: "obj" or "resources".
	Argument string
	// Values are made of what encoding/json makes of JSON, and int64: an object's
	// content, a list of such contents. They are only read. nil in a map or a list is
	// not there for Lua, and whole numbers beyond 2^53 are rounded.
	Values []any
	// Globals are further globals of every evaluation, such as metrics.
	Globals map[string]any
}

// LuaAnswer is what one evaluation came to.
type LuaAnswer struct {
	// Result is the table that evaluate returned: lists are []any, others map[string]any,
	// whole numbers int64. It is nil if Err is set.
	Result map[string]any
	// Err is a *LuaError, or wraps ErrTimeout, ErrMemory, ErrOutput, ErrInput or
	// ErrWorker.
	Err error

	name string
}

// Verdict reads a result that says yes or no: the bool in the field, and the string in
// the field message, which may be missing. The error is Err, or a *LuaError if the fields
// are of other types.
func (a LuaAnswer) Verdict(field string) (yes bool, message string, err error) {
	if a.Err != nil {
		return false, "", a.Err
	}
	yes, ok := a.Result[field].(bool)
	if !ok {
		return false, "", &LuaError{Name: a.name, Message: fmt.Sprintf("evaluate has to return a table with a bool %s, not %s", field, luaTypeOf(a.Result[field]))}
	}
	message, err = a.Text("message")
	return yes, message, err
}

// Text reads a string of the result; a missing one is empty. The error is Err, or a
// *LuaError if the field is of another type.
func (a LuaAnswer) Text(field string) (string, error) {
	if a.Err != nil {
		return "", a.Err
	}
	switch value := a.Result[field].(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	default:
		return "", &LuaError{Name: a.name, Message: fmt.Sprintf("%s of what evaluate returns has to be a string, not %s", field, luaTypeOf(value))}
	}
}

// maxLuaDeaths is how many evaluations of a batch may be killed, or kill their worker,
// before the rest is given up. Each may take a worker for as long as an evaluation may.
const maxLuaDeaths = 2

// luaSlice is the part of Options.WallLimit that a worker works on one batch without a
// pause. Others that wait for a worker get theirs in between.
const luaSlice = 4

// EvaluateLua evaluates a script with each value of a batch, and returns as many answers
// in the same order. An evaluation that fails, or that is killed at a limit, leaves the
// other answers as they are; after maxLuaDeaths of the second kind those that have not
// been evaluated share the last one's error. Each evaluation may take Options.WallLimit.
//
// The error is about the batch as a whole, and there are no answers then: a *LuaError if
// the script does not compile, or an error that wraps ErrInput, ErrNotRunning or ctx's
// error.
func (p *Pool) EvaluateLua(ctx context.Context, b LuaBatch) ([]LuaAnswer, error) {
	answers, err := p.evaluateLua(ctx, b)
	if _, own := errors.AsType[*LuaError](err); err == nil || own {
		return answers, err
	}
	return nil, fmt.Errorf("script %s: %w", b.Name, err)
}

func (p *Pool) evaluateLua(ctx context.Context, b LuaBatch) ([]LuaAnswer, error) {
	run, err := newLuaRun(p, b)
	if err != nil {
		return nil, err
	}
	for len(run.answers) < len(b.Values) {
		if err := run.step(ctx); err != nil {
			return nil, err
		}
	}
	return run.answers, nil
}

// luaRun is a batch on its way through as many exchanges as it needs.
type luaRun struct {
	pool    *Pool
	batch   LuaBatch
	codec   *luaCodec
	globals []byte
	answers []LuaAnswer
	room    luaRequest
	deaths  int
}

func newLuaRun(p *Pool, b LuaBatch) (*luaRun, error) {
	if err := checkText("script", b.Name, b.Text); err != nil {
		return nil, err
	}
	codec, err := newLuaCodec()
	if err != nil {
		return nil, err
	}
	globals := maps.Clone(b.Globals)
	if globals == nil {
		globals = map[string]any{}
	}
	encoded, err := codec.Marshal(globals)
	if err != nil {
		return nil, fmt.Errorf("encoding the script's globals: %w", err)
	}
	if len(encoded) > MaxData {
		return nil, fmt.Errorf("%w: its globals have %d bytes, at most %d are allowed", ErrInput, len(encoded), MaxData)
	}
	return &luaRun{
		pool: p, batch: b, codec: codec, globals: encoded,
		answers: make([]LuaAnswer, 0, len(b.Values)),
		room: luaRequest{
			Argument: b.Argument, Bytes: MaxOutput, Elements: maxLuaElements,
			Slice: int64(p.options.WallLimit / luaSlice),
		},
	}, nil
}

// step has one exchange for the values that have no answer yet, or for as many of them as
// fit, and takes the answers.
func (r *luaRun) step(ctx context.Context) error {
	x, err := r.exchange()
	if err != nil || x == nil {
		return err
	}
	err = r.pool.submit(ctx, x)
	if x.fault != nil {
		return &LuaError{Name: r.batch.Name, Line: x.fault.Line, Message: x.fault.Message}
	}
	r.take(x)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, ErrNotRunning):
		return err
	case errors.Is(err, ErrTimeout):
		// All answers before it were sent long before the limit.
		r.blame(err)
	case !errors.Is(err, ErrMemory) && !errors.Is(err, ErrWorker):
		return err
	case r.room.Careful && len(x.replies) == 0:
		r.blame(err)
	default:
		// It may have died of an evaluation whose predecessors' answers it had not sent
		// yet, or of what those left in its memory.
		r.room.Careful = true
	}
	return nil
}

// take turns the replies of an exchange into answers.
func (r *luaRun) take(x *luaTask) {
	for _, reply := range x.replies {
		answer := LuaAnswer{name: r.batch.Name}
		switch result, isTable := reply.Value.(map[string]any); {
		case reply.OutputExceeded:
			answer.Err = fmt.Errorf("script %s: %w (limit %d bytes and %d values for all evaluations)", r.batch.Name, ErrOutput, MaxOutput, maxLuaElements)
		case reply.Message != "":
			answer.Err = &LuaError{Name: r.batch.Name, Line: reply.Line, Message: reply.Message}
		case !isTable:
			answer.Err = &LuaError{Name: r.batch.Name, Message: "evaluate has to return a table with named fields, not " + luaTypeOf(reply.Value)}
		default:
			answer.Result = result
		}
		r.answers = append(r.answers, answer)
	}
	r.room.Bytes = max(r.room.Bytes-x.bytes, 0)
	r.room.Elements = max(r.room.Elements-x.elements, 0)
}

// blame answers the first value that has no answer, and the rest too if too many
// evaluations have ended so.
func (r *luaRun) blame(err error) {
	r.deaths++
	r.answers = append(r.answers, LuaAnswer{name: r.batch.Name, Err: fmt.Errorf("script %s: %w", r.batch.Name, err)})
	if r.deaths < maxLuaDeaths {
		return
	}
	for len(r.answers) < len(r.batch.Values) {
		r.answers = append(r.answers, LuaAnswer{name: r.batch.Name, Err: fmt.Errorf(
			"script %s: given up after %d evaluations of the batch: %w", r.batch.Name, r.deaths, err)})
	}
}

// exchange encodes what fits of the values that have no answer yet. A value that is too
// large by itself is answered here; nil means that there was nothing but that.
func (r *luaRun) exchange() (*luaTask, error) {
	data := r.globals[:len(r.globals):len(r.globals)]
	count := 0
	for _, value := range r.batch.Values[len(r.answers):] {
		encoded, err := r.codec.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encoding what the script is given: %w", err)
		}
		if len(encoded) > MaxData {
			if count > 0 {
				break // the next exchange begins with it
			}
			r.answers = append(r.answers, LuaAnswer{name: r.batch.Name, Err: fmt.Errorf(
				"script %s: %w: it is given %d bytes, at most %d are allowed", r.batch.Name, ErrInput, len(encoded), MaxData)})
			return nil, nil
		}
		if len(data)+len(encoded) > len(r.globals)+MaxData || count == maxLuaValues {
			break
		}
		data = append(data, encoded...)
		count++
	}
	head, err := json.Marshal(request{Name: r.batch.Name, Lua: &r.room})
	if err != nil {
		return nil, fmt.Errorf("encoding the script's request: %w", err)
	}
	return &luaTask{head: head, text: []byte(r.batch.Text), data: data, count: count, codec: r.codec}, nil
}
