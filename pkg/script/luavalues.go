// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

// toLua makes a Lua value of what a function of Go's returned. Keys are set in the order
// of the alphabet, which is then the order in which pairs walks the table, every time.
func toLua(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := l.CreateTable(0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			table.RawSetString(key, toLua(l, v[key]))
		}
		return table
	case []any:
		table := l.CreateTable(len(v), 0)
		for _, element := range v {
			if element != nil {
				table.Append(toLua(l, element))
			}
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case uint64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}

// luaReader turns what a script returned into what can be sent.
type luaReader struct {
	// elements and bytes are how much more may be read.
	elements, bytes int
}

func (r *luaReader) read(value lua.LValue, depth int) (any, error) {
	r.elements--
	if r.elements < 0 || r.bytes < 0 {
		return nil, errOutputExceeded
	}
	switch v := value.(type) {
	case *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(v), nil
	case lua.LString:
		r.bytes -= len(v)
		return string(v), nil
	case lua.LNumber:
		return fromNumber(float64(v))
	case *lua.LTable:
		if depth == maxLuaDepth {
			return nil, fmt.Errorf("evaluate returned tables nested deeper than %d", maxLuaDepth)
		}
		if n := v.MaxN(); n > 0 {
			return r.readList(v, n, depth)
		}
		return r.readMap(v, depth)
	}
	return nil, errors.New("evaluate returned a table with " + luaKind(value) + " in it")
}

// readList reads a table with a first element as a list, as Sveltos does.
func (r *luaReader) readList(table *lua.LTable, length, depth int) (any, error) {
	if length > r.elements {
		return nil, errOutputExceeded
	}
	list := make([]any, 0, length)
	for i := 1; i <= length; i++ {
		element, err := r.read(table.RawGetInt(i), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	return list, nil
}

func (r *luaReader) readMap(table *lua.LTable, depth int) (any, error) {
	result := map[string]any{}
	for key, value := table.Next(lua.LNil); key != lua.LNil; key, value = table.Next(key) {
		name := key.String()
		if t := key.Type(); t != lua.LTString && t != lua.LTNumber {
			return nil, errors.New("evaluate returned a table with " + luaKind(key) + " as a key")
		}
		r.bytes -= len(name)
		element, err := r.read(value, depth+1)
		if err != nil {
			return nil, err
		}
		result[name] = element
	}
	return result, nil
}

// maxWhole is up to where all whole numbers are numbers of Lua's.
const maxWhole = 1 << 53

func fromNumber(number float64) (any, error) {
	switch {
	case math.IsNaN(number), math.IsInf(number, 0):
		return nil, errors.New("evaluate returned " + strconv.FormatFloat(number, 'g', -1, 64) + ", which is no number of JSON's")
	case number == math.Trunc(number) && math.Abs(number) <= maxWhole:
		return int64(number), nil
	}
	return number, nil
}

// luaKind is what kind of value it is, for a message, with its article.
func luaKind(value lua.LValue) string {
	if value == lua.LNil {
		return "nil"
	}
	return "a " + value.Type().String()
}

// luaTypeOf is luaKind for what a script has returned.
func luaTypeOf(value any) string {
	switch value.(type) {
	case nil:
		return "nil"
	case bool:
		return "a bool"
	case string:
		return "a string"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a number"
}

// luaElements counts as luaReader does.
func luaElements(value any) int {
	count := 1
	switch v := value.(type) {
	case map[string]any:
		for _, element := range v {
			count += luaElements(element)
		}
	case []any:
		for _, element := range v {
			count += luaElements(element)
		}
	}
	return count
}
