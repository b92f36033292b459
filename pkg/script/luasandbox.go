// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// luaSandbox is a Lua state, and what scripts find in it. What is left out of Lua, and
// why:
//
//   - os, io, debug, dofile, loadfile, package and channel reach the machine, and so
//     does print, which would write to the parent; print is there and does nothing.
//   - load, loadstring, module, getfenv, setfenv, newproxy and string.dump get around
//     the environment that an evaluation has.
//   - math.random, os.time and collectgarbage("count") differ from one evaluation to
//     the next, and so do the addresses that tostring and string.format show of tables
//     and functions; here they show none.
//
// pairs walks a table in the order in which its keys were set, and what scripts are given
// is set in the order of luaCodec: shorter keys first, then by the alphabet.
type luaSandbox struct {
	state *lua.LState
	// base are the global functions, libraries the tables of functions by name, and
	// globals a table with all of them, which scripts do not get hold of.
	base      []luaEntry
	libraries []luaLibrary
	globals   *lua.LTable
	// inherit is the metatable of environments, by which they have what is in globals.
	inherit *lua.LTable
	// running is the environment of the running evaluation.
	running *lua.LTable
	// loaded are the modules that the running evaluation has required.
	loaded map[string]*lua.LTable
}

type luaEntry struct {
	name  string
	value lua.LValue
}

// luaLibrary is a table of functions, and what belongs into it.
type luaLibrary struct {
	name    string
	entries []luaEntry
	table   *lua.LTable
}

// pristine reports whether the table is as it was made.
func (b *luaLibrary) pristine() bool {
	if b.table == nil || b.table.Metatable != lua.LNil {
		return false
	}
	for _, entry := range b.entries {
		if b.table.RawGetString(entry.name) != entry.value {
			return false
		}
	}
	count := 0
	for key, _ := b.table.Next(lua.LNil); key != lua.LNil; key, _ = b.table.Next(key) {
		count++
	}
	return count == len(b.entries)
}

// restore makes the table anew unless it is pristine, and reports whether it did.
func (b *luaLibrary) restore(l *lua.LState) (made bool) {
	if b.pristine() {
		return false
	}
	b.table = l.CreateTable(0, len(b.entries))
	for _, entry := range b.entries {
		b.table.RawSetString(entry.name, entry.value)
	}
	return true
}

const (
	// luaCallDepth is how many calls may be nested.
	luaCallDepth = 1024
	// luaRegistry and luaMaxRegistry are how many values all nested calls have at
	// first and at most.
	luaRegistry    = 4 << 10
	luaMaxRegistry = 1 << 20
)

// newLuaSandbox returns a state without an environment.
func newLuaSandbox() *luaSandbox {
	s := &luaSandbox{
		state: lua.NewState(lua.Options{
			SkipOpenLibs: true, CallStackSize: luaCallDepth,
			RegistrySize: luaRegistry, RegistryMaxSize: luaMaxRegistry,
		}),
		loaded: map[string]*lua.LTable{},
	}
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenString, lua.OpenTable, lua.OpenMath, lua.OpenCoroutine} {
		open(s.state)
		s.state.SetTop(0)
	}
	globals := s.state.G.Global
	for _, name := range approvedLuaGlobals() {
		s.base = append(s.base, luaEntry{name, globals.RawGetString(name)})
	}
	own := s.ownGlobals()
	for _, name := range slices.Sorted(maps.Keys(own)) {
		s.base = append(s.base, luaEntry{name, s.state.NewFunction(own[name])})
	}
	approved := approvedLuaLibraries()
	for _, name := range slices.Sorted(maps.Keys(approved)) {
		library := luaLibrary{name: name}
		table := globals.RawGetString(name).(*lua.LTable)
		for function := range strings.FieldsSeq(approved[name]) {
			library.entries = append(library.entries, luaEntry{function, s.approve(name, function, table.RawGetString(function))})
		}
		s.libraries = append(s.libraries, library)
	}
	s.prepare()
	return s
}

// prepare makes what environments inherit. To fill each with thirty functions would cost
// more than most scripts do. What a script notices of it is that a function is still there
// after its name was set to nil.
func (s *luaSandbox) prepare() {
	s.globals = s.state.CreateTable(0, len(s.base)+len(s.libraries))
	for _, entry := range s.base {
		s.globals.RawSetString(entry.name, entry.value)
	}
	missing := s.state.NewTable()
	missing.RawSetString("__index", s.state.NewFunction(s.missing))
	s.globals.Metatable = missing
	s.inherit = s.state.NewTable()
	s.inherit.RawSetString("__index", s.globals)
}

// missing is called for a global that is not there, and for _G. Who asks for that wants
// to see the environment as a table: from then on it has everything itself.
func (s *luaSandbox) missing(l *lua.LState) int {
	if l.Get(2) != lua.LString("_G") {
		l.Push(lua.LNil)
		return 1
	}
	env := s.running
	env.Metatable = lua.LNil
	for key, value := s.globals.Next(lua.LNil); key != lua.LNil; key, value = s.globals.Next(key) {
		if env.RawGet(key) == lua.LNil {
			env.RawSet(key, value)
		}
	}
	env.RawSetString("_G", env)
	l.Push(env)
	return 1
}

func (s *luaSandbox) close() { s.state.Close() }

// approvedLuaGlobals names what is taken from Lua's basic functions. It is a list of what
// is allowed, so that a new version of the library adds nothing unseen.
func approvedLuaGlobals() []string {
	return strings.Fields(`
		_VERSION assert error getmetatable ipairs next pairs pcall rawequal rawget rawset
		select setmetatable tonumber type unpack xpcall
	`)
}

// approvedLuaLibraries is the same for the functions in tables.
func approvedLuaLibraries() map[string]string {
	return map[string]string{
		"string":    "byte char find format gfind gmatch gsub len lower match rep reverse sub upper",
		"table":     "concat getn insert maxn remove sort",
		"math":      "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad sin sinh sqrt tan tanh",
		"coroutine": "create resume running status wrap yield",
	}
}

// ownGlobals are functions that replace Lua's, and those that Sveltos adds.
func (s *luaSandbox) ownGlobals() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"print":         func(*lua.LState) int { return 0 },
		"tostring":      luaToString,
		"require":       s.require,
		"base64Encode":  luaBase64Encode,
		"base64Decode":  luaBase64Decode,
		"getLabel":      luaMetadataOf("labels"),
		"getAnnotation": luaMetadataOf("annotations"),
		"getResource":   luaGetResource,
	}
}

// approve returns a function of a library, changed where it would show an address.
func (s *luaSandbox) approve(library, name string, value lua.LValue) lua.LValue {
	format, ok := value.(*lua.LFunction)
	if !ok || library != "string" || name != "format" {
		return value
	}
	return s.state.NewFunction(func(l *lua.LState) int {
		for i := 2; i <= l.GetTop(); i++ {
			switch l.Get(i).Type() {
			case lua.LTTable, lua.LTFunction, lua.LTThread, lua.LTUserData:
				l.Replace(i, luaText(l, l.Get(i)))
			}
		}
		return format.GFunction(l)
	})
}

// environment returns the globals of the next evaluation. The table is new, and the
// libraries in it are if the last evaluation has changed them: whatever a script does to
// string or to _G, the next one does not see.
func (s *luaSandbox) environment() *lua.LTable {
	clear(s.loaded)
	s.running = s.state.CreateTable(0, 4)
	s.running.Metatable = s.inherit
	for i := range s.libraries {
		library := &s.libraries[i]
		if library.restore(s.state) {
			s.globals.RawSetString(library.name, library.table)
		}
		if library.name == "string" {
			// What s:upper() looks into. getmetatable gives it away, so it is new too.
			methods := s.state.CreateTable(0, 1)
			methods.RawSetString("__index", library.table)
			s.state.SetMetatable(lua.LString(""), methods)
		}
	}
	return s.running
}

// require returns one of the modules that Sveltos has. It reads nothing and knows no
// others.
func (s *luaSandbox) require(l *lua.LState) int {
	name := l.CheckString(1)
	module := s.loaded[name]
	if module == nil {
		functions, found := luaModule(name)
		if !found {
			l.RaiseError("there is no module %q; there are json, runes, sprig and strings", name)
		}
		module = l.CreateTable(0, len(functions))
		for _, function := range slices.Sorted(maps.Keys(functions)) {
			module.RawSetString(function, l.NewFunction(functions[function]))
		}
		s.loaded[name] = module
	}
	l.Push(module)
	return 1
}

func luaToString(l *lua.LState) int {
	l.Push(luaText(l, l.CheckAny(1)))
	return 1
}

// luaText is a value as text, without an address.
func luaText(l *lua.LState, value lua.LValue) lua.LValue {
	if l.GetMetaField(value, "__tostring").Type() == lua.LTFunction {
		return l.ToStringMeta(value)
	}
	switch value.Type() {
	case lua.LTNil, lua.LTBool, lua.LTNumber, lua.LTString:
		return lua.LString(value.String())
	}
	return lua.LString(value.Type().String())
}

func luaBase64Encode(l *lua.LState) int {
	l.Push(lua.LString(base64.StdEncoding.EncodeToString([]byte(l.CheckString(1)))))
	return 1
}

func luaBase64Decode(l *lua.LState) int {
	decoded, err := base64.StdEncoding.DecodeString(l.CheckString(1))
	if err != nil {
		return luaFailed(l, err)
	}
	l.Push(lua.LString(decoded))
	return 1
}

// luaFailed returns nil and what went wrong, as functions of Lua's do.
func luaFailed(l *lua.LState, err error) int {
	l.Push(lua.LNil)
	l.Push(lua.LString(err.Error()))
	return 2
}

// luaMetadataOf is getLabel or getAnnotation: the value of a key, nil if it is not there.
func luaMetadataOf(field string) lua.LGFunction {
	return func(l *lua.LState) int {
		var value lua.LValue = l.CheckTable(1)
		for _, key := range []string{"metadata", field, l.CheckString(2)} {
			table, ok := value.(*lua.LTable)
			if !ok {
				value = lua.LNil
				break
			}
			value = table.RawGetString(key)
		}
		l.Push(value)
		return 1
	}
}

// luaGetResource returns the resource of an identifier, nil if there is none.
func luaGetResource(l *lua.LState) int {
	l.Push(l.CheckTable(1).RawGetString(l.CheckString(2)))
	return 1
}
