// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

const (
	// chunkName is what Lua's messages call the script: "lua:3: attempt to …".
	chunkName = "lua"
	// luaFlushEvery is how long an answer may wait for others to be sent with it. An
	// evaluation that hangs is told from those before it by their answers.
	luaFlushEvery = 10 * time.Millisecond
)

// serveLua evaluates a script with each value in data until the slice is over, and
// answers. Its error means that the worker cannot go on.
func serveLua(out io.Writer, req *luaRequest, text string, data []byte) error {
	codec, err := newLuaCodec()
	if err != nil {
		return err
	}
	began := time.Now()
	proto, fault := compileLua(text)
	if fault != nil {
		encoded, err := codec.Marshal(fault)
		if err != nil {
			return fmt.Errorf("encoding an answer: %w", err)
		}
		return writeFrame(out, append([]byte{luaFault}, encoded...))
	}
	e := newLuaEvaluator(codec, proto, req)
	defer e.sandbox.close()
	e.items.rest = string(data)
	if err := e.readGlobals(); err != nil {
		return err
	}
	box := newOutbox(out)
	defer box.stop()
	for e.items.rest != "" {
		value, err := e.items.next()
		if err != nil {
			return err
		}
		reply, err := e.evaluate(value)
		if err != nil {
			return err
		}
		if err := box.add(reply, req.Careful); err != nil {
			return err
		}
		if time.Since(began) > time.Duration(req.Slice) {
			break
		}
	}
	return box.end()
}

// outbox holds answers back for a short while, because many small frames would cost more
// than the evaluations.
type outbox struct {
	out  io.Writer
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	pending []byte // an answer frame
	err     error
}

// newOutbox returns an outbox with a goroutine in it, which stop ends.
func newOutbox(out io.Writer) *outbox {
	b := &outbox{out: out, quit: make(chan struct{}), done: make(chan struct{}), pending: []byte{luaMore}}
	go b.run()
	return b
}

func (b *outbox) run() {
	defer close(b.done)
	tick := time.NewTicker(luaFlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.quit:
			return
		case <-tick.C:
			b.mu.Lock()
			b.flush()
			b.mu.Unlock()
		}
	}
}

func (b *outbox) stop() {
	close(b.quit)
	<-b.done
}

// flush sends what is there. The lock is held.
func (b *outbox) flush() {
	if len(b.pending) > 1 && b.err == nil {
		b.err = writeFrame(b.out, b.pending)
		b.pending = append(b.pending[:0], luaMore)
	}
}

func (b *outbox) add(reply []byte, atOnce bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending = append(b.pending, reply...)
	if atOnce || len(b.pending) > luaFlushSize {
		b.flush()
	}
	return b.err
}

// end sends what is left and that nothing follows.
func (b *outbox) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.pending[0] = luaLast
		b.err = writeFrame(b.out, b.pending)
		b.pending = append(b.pending[:0], luaMore)
	}
	return b.err
}

// luaEvaluator evaluates one script with one value after the other.
type luaEvaluator struct {
	codec   *luaCodec
	sandbox *luaSandbox
	proto   *lua.FunctionProto
	request *luaRequest
	items   luaItems
	// globals are encoded, because each evaluation gets its own.
	globals string
	// bytes and elements are what may still be returned.
	bytes, elements int
}

func newLuaEvaluator(codec *luaCodec, proto *lua.FunctionProto, req *luaRequest) *luaEvaluator {
	sandbox := newLuaSandbox()
	return &luaEvaluator{
		codec: codec, sandbox: sandbox, proto: proto, request: req,
		items: luaItems{state: sandbox.state}, bytes: req.Bytes, elements: req.Elements,
	}
}

// readGlobals takes the globals off the items.
func (e *luaEvaluator) readGlobals() error {
	before := e.items.rest
	if _, err := e.items.next(); err != nil {
		return err
	}
	e.globals = before[:len(before)-len(e.items.rest)]
	return nil
}

// evaluate returns an encoded luaReply.
func (e *luaEvaluator) evaluate(value lua.LValue) ([]byte, error) {
	reply := e.reply(value)
	encoded, err := e.codec.Marshal(reply)
	if err == nil && len(encoded) > e.bytes && reply.Message == "" {
		encoded, err = e.codec.Marshal(luaReply{OutputExceeded: true})
	}
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	e.bytes = max(e.bytes-len(encoded), 0)
	return encoded, nil
}

func (e *luaEvaluator) reply(value lua.LValue) luaReply {
	returned, err := e.call(value)
	if err != nil {
		return luaReplyOf(err)
	}
	reader := luaReader{elements: e.elements, bytes: e.bytes}
	result, err := reader.read(returned, 0)
	if errors.Is(err, errOutputExceeded) {
		return luaReply{OutputExceeded: true}
	}
	if err != nil {
		return luaReplyOf(err)
	}
	e.elements = reader.elements
	return luaReply{Value: result}
}

var errNoEvaluate = errors.New("the script has no function evaluate")

// call runs the script and its function evaluate in an environment of their own.
func (e *luaEvaluator) call(argument lua.LValue) (lua.LValue, error) {
	l := e.sandbox.state
	l.SetTop(0)
	env := e.sandbox.environment()
	if err := e.setGlobals(env); err != nil {
		return nil, err
	}
	chunk := l.NewFunctionFromProto(e.proto)
	chunk.Env = env
	if err := l.CallByParam(lua.P{Fn: chunk, Protect: true}); err != nil {
		return nil, err
	}
	function := env.RawGetString("evaluate")
	if function.Type() != lua.LTFunction {
		return nil, errNoEvaluate
	}
	// After the script has run, as upstream does: it cannot replace what it is given.
	env.RawSetString(e.request.Argument, argument)
	if err := l.CallByParam(lua.P{Fn: function, NRet: 1, Protect: true}, argument); err != nil {
		return nil, err
	}
	return l.Get(-1), nil
}

// setGlobals decodes the globals once more: a script may have changed those before.
func (e *luaEvaluator) setGlobals(env *lua.LTable) error {
	items := luaItems{state: e.sandbox.state, rest: e.globals}
	_, count, _, err := items.head()
	if err != nil {
		return err
	}
	globals, err := items.table(count)
	if err != nil {
		return err
	}
	for name, value := globals.Next(lua.LNil); name != lua.LNil; name, value = globals.Next(name) {
		env.RawSet(name, value)
	}
	return nil
}

// compileLua compiles a script, or says what is wrong with it.
func compileLua(text string) (*lua.FunctionProto, *luaReply) {
	chunk, err := parse.Parse(strings.NewReader(text), chunkName)
	if err == nil {
		var proto *lua.FunctionProto
		if proto, err = lua.Compile(chunk, chunkName); err == nil {
			return proto, nil
		}
	}
	reply := luaReplyOf(err)
	return nil, &reply
}

// luaReplyOf tells of an error of the script.
func luaReplyOf(err error) luaReply {
	line, message := luaPosition(err)
	return luaReply{Line: line, Message: shorten(message, MaxMessage)}
}

// inChunk finds where the position ends in "lua:3: message", of a script that runs, and in
// "lua line:3(column:7) near 'x':   syntax error", of one that does not compile.
var inChunk = regexp.MustCompile(`^` + chunkName + `(?::| line:)(\d+)(?:\(column:\d+\))?:? *(?s:(.*))$`)

// luaPosition takes the position off an error of Lua's, and the stack trace.
func luaPosition(err error) (line int, message string) {
	message = strings.TrimSpace(err.Error())
	if own, ok := errors.AsType[*lua.ApiError](err); ok {
		message = luaMessage(own)
	}
	if atEnd, found := strings.CutPrefix(message, chunkName+" at EOF:"); found {
		return 0, "at its end: " + strings.TrimSpace(atEnd)
	}
	found := inChunk.FindStringSubmatch(message)
	if found == nil {
		return 0, message
	}
	line, err = strconv.Atoi(found[1])
	if err != nil {
		return 0, message
	}
	return line, strings.Join(strings.Fields(found[2]), " ")
}

// luaMessage is what was raised. Tables raised by scripts have no text, and their address
// would differ from one evaluation to the next.
func luaMessage(err *lua.ApiError) string {
	switch raised := err.Object.(type) {
	case lua.LString:
		return string(raised)
	case lua.LNumber, lua.LBool:
		return raised.String()
	case *lua.LTable:
		if message, ok := raised.RawGetString("message").(lua.LString); ok {
			return string(message)
		}
	}
	if err.Cause != nil {
		return err.Cause.Error()
	}
	return "the script raised " + luaKind(err.Object)
}
