// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

// luaModule returns the functions of a module that scripts can require: those that
// Sveltos has under the same names. All give the same result for the same input.
func luaModule(name string) (functions map[string]lua.LGFunction, found bool) {
	switch name {
	case "json":
		return luaJSON(), true
	case "strings":
		return bridged(luaStrings()), true
	case "runes":
		return bridged(luaRunes()), true
	case "sprig":
		return bridged(funcMap()), true
	}
	return nil, false
}

func luaJSON() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"encode":   luaEncode(encodeJSON),
		"toYAML":   luaEncode(yaml.Marshal),
		"decode":   luaDecode(json.Unmarshal),
		"fromYAML": luaDecode(func(data []byte, into any) error { return yaml.Unmarshal(data, into) }),
	}
}

func encodeJSON(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func luaEncode(encode func(any) ([]byte, error)) lua.LGFunction {
	return func(l *lua.LState) int {
		value, err := fromLua(l.CheckAny(1))
		if err != nil {
			return luaFailed(l, err)
		}
		text, err := encode(emptyTablesAsLists(value))
		if err != nil {
			return luaFailed(l, err)
		}
		l.Push(lua.LString(text))
		return 1
	}
}

func luaDecode(decode func([]byte, any) error) lua.LGFunction {
	return func(l *lua.LState) int {
		var value any
		if err := decode([]byte(l.CheckString(1)), &value); err != nil {
			return luaFailed(l, err)
		}
		l.Push(toLua(l, value))
		return 1
	}
}

// fromLua reads a value for use inside the worker, whose memory is the limit.
func fromLua(value lua.LValue) (any, error) {
	reader := luaReader{elements: MaxOutput, bytes: MaxOutput}
	return reader.read(value, 0)
}

// emptyTablesAsLists has an empty table written as [], as Sveltos does: Lua does not tell
// an empty list from an empty object.
func emptyTablesAsLists(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			return []any{}
		}
		for key, element := range v {
			v[key] = emptyTablesAsLists(element)
		}
	case []any:
		for i, element := range v {
			v[i] = emptyTablesAsLists(element)
		}
	}
	return value
}

// luaStrings are functions of package strings, under their names there.
func luaStrings() map[string]any {
	return map[string]any{
		"Compare": strings.Compare, "Contains": strings.Contains, "ContainsAny": strings.ContainsAny,
		"ContainsRune": strings.ContainsRune, "Count": strings.Count, "EqualFold": strings.EqualFold,
		"Fields": strings.Fields, "FieldsFunc": strings.FieldsFunc, "HasPrefix": strings.HasPrefix,
		"HasSuffix": strings.HasSuffix, "Index": strings.Index, "IndexAny": strings.IndexAny,
		"IndexByte": strings.IndexByte, "IndexFunc": strings.IndexFunc, "IndexRune": strings.IndexRune,
		"Join": strings.Join, "LastIndex": strings.LastIndex, "LastIndexAny": strings.LastIndexAny,
		"LastIndexByte": strings.LastIndexByte, "LastIndexFunc": strings.LastIndexFunc, "Map": strings.Map,
		"Repeat": strings.Repeat, "Replace": strings.Replace, "Split": strings.Split,
		"SplitAfter": strings.SplitAfter, "SplitAfterN": strings.SplitAfterN, "SplitN": strings.SplitN,
		"Title": funcMap()["title"], "ToLower": strings.ToLower, "ToTitle": strings.ToTitle,
		"ToUpper": strings.ToUpper, "Trim": strings.Trim, "TrimFunc": strings.TrimFunc,
		"TrimLeft": strings.TrimLeft, "TrimLeftFunc": strings.TrimLeftFunc, "TrimPrefix": strings.TrimPrefix,
		"TrimRight": strings.TrimRight, "TrimRightFunc": strings.TrimRightFunc, "TrimSpace": strings.TrimSpace,
		"TrimSuffix": strings.TrimSuffix,
	}
}

// bridged makes functions of Lua's out of Go's.
func bridged[F any](functions map[string]F) map[string]lua.LGFunction {
	bridges := make(map[string]lua.LGFunction, len(functions))
	for name, function := range functions {
		bridges[name] = bridge(name, reflect.ValueOf(function))
	}
	return bridges
}

// bridge calls a Go function with the arguments that Lua has for it. What cannot be
// converted, and an error that the function returns, is raised.
func bridge(name string, function reflect.Value) lua.LGFunction {
	signature := function.Type()
	return func(l *lua.LState) int {
		in := make([]reflect.Value, 0, l.GetTop())
		for i := range max(l.GetTop(), signature.NumIn()) {
			wanted := argumentType(signature, i)
			if wanted == nil {
				break // more arguments than the function takes are ignored, as Lua does
			}
			if i >= l.GetTop() && signature.IsVariadic() && i >= signature.NumIn()-1 {
				break
			}
			argument, err := toGo(l, l.Get(i+1), wanted)
			if err != nil {
				l.ArgError(i+1, err.Error())
			}
			in = append(in, argument)
		}
		out := function.Call(in)
		if last := out[len(out)-1]; last.Type() == reflect.TypeFor[error]() && !last.IsNil() {
			l.RaiseError("%s: %s", name, last.Interface().(error).Error())
		}
		result, err := plain(out[0])
		if err != nil {
			l.RaiseError("%s: %s", name, err.Error())
		}
		l.Push(toLua(l, result))
		return 1
	}
}

// argumentType is the type of argument i, counted from 0; nil if there is none.
func argumentType(signature reflect.Type, i int) reflect.Type {
	last := signature.NumIn() - 1
	switch {
	case signature.IsVariadic() && i >= last:
		return signature.In(last).Elem()
	case i > last:
		return nil
	}
	return signature.In(i)
}

// toGo converts an argument.
func toGo(l *lua.LState, value lua.LValue, wanted reflect.Type) (reflect.Value, error) {
	if wanted.Kind() == reflect.Func {
		return callback(l, value, wanted)
	}
	read, err := fromLua(value)
	if err != nil {
		return reflect.Value{}, err
	}
	return convert(read, wanted)
}

func convert(value any, wanted reflect.Type) (reflect.Value, error) {
	if value == nil && wanted.Kind() == reflect.Interface {
		return reflect.Zero(wanted), nil
	}
	v := reflect.ValueOf(value)
	switch {
	case value == nil:
	case v.Type().AssignableTo(wanted):
		return v, nil
	case v.Kind() == reflect.Slice && wanted.Kind() == reflect.Slice:
		list := reflect.MakeSlice(wanted, 0, v.Len())
		for i := range v.Len() {
			element, err := convert(v.Index(i).Interface(), wanted.Elem())
			if err != nil {
				return reflect.Value{}, err
			}
			list = reflect.Append(list, element)
		}
		return list, nil
	case v.Kind() == reflect.Map && v.Len() == 0 && wanted.Kind() == reflect.Slice:
		return reflect.MakeSlice(wanted, 0, 0), nil
	case (v.CanInt() || v.CanFloat()) && wanted.Kind() >= reflect.Int && wanted.Kind() <= reflect.Float64:
		return v.Convert(wanted), nil
	}
	return reflect.Value{}, fmt.Errorf("%s expected, got %s", wanted, luaTypeOf(value))
}

// callback makes a function of Lua's one of Go's: of a rune, that returns a bool or a rune.
func callback(l *lua.LState, value lua.LValue, wanted reflect.Type) (reflect.Value, error) {
	function, ok := value.(*lua.LFunction)
	if !ok {
		return reflect.Value{}, fmt.Errorf("function expected, got %s", luaKind(value))
	}
	return reflect.MakeFunc(wanted, func(in []reflect.Value) []reflect.Value {
		l.Push(function)
		l.Push(lua.LNumber(in[0].Int()))
		l.Call(1, 1)
		returned := l.Get(-1)
		l.Pop(1)
		result, err := toGo(l, returned, wanted.Out(0))
		if err != nil {
			l.RaiseError("the function returned another type: %s", err.Error())
		}
		return []reflect.Value{result}
	}), nil
}

// plain makes what a function returned of what toLua takes.
func plain(v reflect.Value) (any, error) {
	switch {
	case v.Kind() == reflect.Interface && !v.IsNil():
		return plain(v.Elem())
	case v.Kind() == reflect.Interface:
		return nil, nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return v.Uint(), nil
	case v.CanFloat():
		return v.Float(), nil
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			element, err := plain(v.Index(i))
			if err != nil {
				return nil, err
			}
			list[i] = element
		}
		return list, nil
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		table := make(map[string]any, v.Len())
		for _, key := range v.MapKeys() {
			element, err := plain(v.MapIndex(key))
			if err != nil {
				return nil, err
			}
			table[key.String()] = element
		}
		return table, nil
	}
	return nil, fmt.Errorf("it returns a %s, for which Lua has no type", v.Type())
}
