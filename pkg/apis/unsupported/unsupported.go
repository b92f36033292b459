// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package unsupported holds tables of what Sveltos obeys and Muster does not yet.
// Validation refuses what is in a table, so that nothing is accepted and ignored,
// and docs/compatibility.md is printed from the same tables.
package unsupported

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Field is a field of T that is refused: if it is set at all, or, where it has
// values that are obeyed, if it has another one.
type Field[T any] struct {
	// Path leads from T to the field, with the names that the field has in JSON
	// between dots.
	Path string
	// Key is a key of the field, which is then a map.
	Key string
	// Supported are the values that are obeyed, beside none at all.
	Supported []string
	// Refused are the only values that the table refuses. Empty means all that are
	// not supported. A field of which validation knows all values has them, so that
	// a value that nobody knows is not called unsupported.
	Refused []string
	// Reason says what Muster does instead, or what the user can do.
	Reason string
	// Value reads the field. Nil, zero and empty values are never refused.
	Value func(*T) any
}

// Table is all that is refused of T.
type Table[T any] []Field[T]

// Validate refuses what the table says. The path leads to obj.
//
// An error carries the value, which is never printed, so that one error can be told
// from the same error about another value.
func (t Table[T]) Validate(obj *T, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, f := range t {
		if value, refused := f.refuses(obj); refused {
			err := field.Forbidden(f.under(path), f.message(value))
			err.BadValue = value
			errs = append(errs, err)
		}
	}
	return errs
}

// Row is a line of the documentation.
type Row struct {
	// Kinds are the kinds that have the field.
	Kinds string
	// Path leads from the object to the field.
	Path string
	// Refused are the values that are refused. Empty means any other than supported
	// ones.
	Refused []string
	// Supported are the values that are obeyed.
	Supported []string
	// Reason says what Muster does instead, or what the user can do.
	Reason string
}

// Rows documents the table. The prefix leads to T.
func (t Table[T]) Rows(kinds, prefix string) []Row {
	rows := make([]Row, 0, len(t))
	for _, f := range t {
		path := strings.TrimPrefix(prefix+"."+f.Path, ".")
		if f.Key != "" {
			path += "[" + f.Key + "]"
		}
		rows = append(rows, Row{Kinds: kinds, Path: path, Refused: f.Refused, Supported: f.Supported, Reason: f.Reason})
	}
	return rows
}

func (f Field[T]) refuses(obj *T) (value any, refused bool) {
	value = f.Value(obj)
	if isUnset(value) {
		return nil, false
	}
	text := textOf(value)
	if slices.Contains(f.Supported, text) {
		return nil, false
	}
	if len(f.Refused) > 0 && !slices.Contains(f.Refused, text) {
		return nil, false
	}
	return value, true
}

func (f Field[T]) under(path *field.Path) *field.Path {
	for name := range strings.SplitSeq(f.Path, ".") {
		path = path.Child(name)
	}
	if f.Key != "" {
		path = path.Key(f.Key)
	}
	return path
}

func (f Field[T]) message(value any) string {
	message := "not supported yet"
	if len(f.Refused) > 0 {
		message = fmt.Sprintf("%q is not supported yet", textOf(value))
	}
	if len(f.Supported) > 0 {
		message += ", only " + strings.Join(f.Supported, ", ")
	}
	return message + ": " + f.Reason
}

func isUnset(value any) bool {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.IsZero() {
		return true
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return false
	}
}

// textOf writes a scalar, or what a pointer to one points to, as in a manifest.
func textOf(value any) string {
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return fmt.Sprint(v.Interface())
}
