// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/binary"
	"errors"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// luaItems reads CBOR straight into Lua's values. The library would make Go's maps first,
// which costs as much again and loses the order of the keys. It reads what luaCodec
// writes of what JSON can say, and byte strings.
type luaItems struct {
	state *lua.LState
	rest  string // a string, so that its parts need not be copied
}

var errLuaData = errors.New("decoding what the script is given: it is not what was sent")

// Major types of CBOR.
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

// next reads one item.
func (r *luaItems) next() (lua.LValue, error) {
	major, argument, size, err := r.head()
	if err != nil {
		return nil, err
	}
	switch major {
	case cborUint:
		return lua.LNumber(argument), nil
	case cborNegative:
		return -1 - lua.LNumber(argument), nil
	case cborBytes, cborText:
		text, err := r.take(argument)
		return lua.LString(text), err
	case cborArray:
		return r.list(argument)
	case cborMap:
		return r.table(argument)
	case cborSimple:
		return simple(argument, size)
	}
	return nil, errLuaData
}

// head reads an item's type and argument, and in how many bytes the argument was.
func (r *luaItems) head() (major byte, argument uint64, size int, err error) {
	first, err := r.take(1)
	if err != nil {
		return 0, 0, 0, err
	}
	major, short := first[0]>>5, first[0]&0x1f
	if short < 24 {
		return major, uint64(short), 0, nil
	}
	if short > 27 {
		return 0, 0, 0, errLuaData
	}
	size = 1 << (short - 24)
	text, err := r.take(uint64(size))
	if err != nil {
		return 0, 0, 0, err
	}
	var wide [8]byte
	copy(wide[8-size:], text)
	return major, binary.BigEndian.Uint64(wide[:]), size, nil
}

func (r *luaItems) take(length uint64) (string, error) {
	if length > uint64(len(r.rest)) {
		return "", errLuaData
	}
	text := r.rest[:length]
	r.rest = r.rest[length:]
	return text, nil
}

// list reads a list without its nils: a hole would end it for some functions.
func (r *luaItems) list(length uint64) (lua.LValue, error) {
	if length > uint64(len(r.rest)) {
		return nil, errLuaData
	}
	table := r.state.CreateTable(int(length), 0)
	for range length {
		element, err := r.next()
		if err != nil {
			return nil, err
		}
		if element != lua.LNil {
			table.Append(element)
		}
	}
	return table, nil
}

// table reads a map. Its keys are set in the order in which they come, which is then the
// order in which pairs walks the table.
func (r *luaItems) table(length uint64) (*lua.LTable, error) {
	if length > uint64(len(r.rest)) {
		return nil, errLuaData
	}
	table := r.state.CreateTable(0, int(length))
	for range length {
		major, size, _, err := r.head()
		if err != nil {
			return nil, err
		}
		if major != cborText {
			return nil, errLuaData
		}
		key, err := r.take(size)
		if err != nil {
			return nil, err
		}
		value, err := r.next()
		if err != nil {
			return nil, err
		}
		table.RawSetString(key, value)
	}
	return table, nil
}

// simple is a bool, nil, or a fraction of 8 bytes. What is no number has 2.
func simple(argument uint64, size int) (lua.LValue, error) {
	switch {
	case size == 8:
		return lua.LNumber(math.Float64frombits(argument)), nil
	case size == 2 && argument == 0x7e00:
		return lua.LNumber(math.NaN()), nil
	case size == 2 && argument&0x7fff == 0x7c00:
		return lua.LNumber(math.Inf(1 - int(argument>>14&2))), nil
	case size == 0 && argument == 20:
		return lua.LFalse, nil
	case size == 0 && argument == 21:
		return lua.LTrue, nil
	case size == 0 && argument == 22:
		return lua.LNil, nil
	}
	return nil, errLuaData
}
