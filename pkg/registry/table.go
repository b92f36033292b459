// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metatable "k8s.io/apimachinery/pkg/api/meta/table"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Types of columns, as OpenAPI names them.
const (
	String  = "string"
	Integer = "integer"
)

// Column is one column of a kind's table.
type Column[T any] struct {
	// Header is the title; kubectl prints it in capitals.
	Header string
	// Type is String or Integer.
	Type string
	// Help describes the column for whoever reads the table as JSON.
	Help string
	// Wide columns are printed on request only (kubectl get -o wide).
	Wide bool
	// Cell is the value for one object: a string, or an int64 for Integer.
	Cell func(T) any
}

// Table converts objects and lists of one kind to tables. NAME comes first by
// itself.
type Table[T runtime.Object] []Column[T]

var _ rest.TableConvertor = Table[runtime.Object]{}

// ConvertToTable makes one row for an object, or one for each item of a list.
func (t Table[T]) ConvertToTable(_ context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	out := &metav1.Table{}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		out.ColumnDefinitions = t.definitions()
	}
	copyListMeta(object, out)
	if !meta.IsListType(object) {
		row, err := t.row(object)
		if err != nil {
			return nil, err
		}
		out.Rows = []metav1.TableRow{row}
		return out, nil
	}
	// The rows must be a list even where it is empty: clients range over it.
	out.Rows = make([]metav1.TableRow, 0, meta.LenList(object))
	err := meta.EachListItem(object, func(item runtime.Object) error {
		row, err := t.row(item)
		out.Rows = append(out.Rows, row)
		return err
	})
	return out, err
}

func (t Table[T]) definitions() []metav1.TableColumnDefinition {
	definitions := []metav1.TableColumnDefinition{{
		Name: "Name", Type: String, Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"],
	}}
	for _, c := range t {
		definition := metav1.TableColumnDefinition{Name: c.Header, Type: c.Type, Description: c.Help}
		if c.Wide {
			definition.Priority = 1
		}
		definitions = append(definitions, definition)
	}
	return definitions
}

func (t Table[T]) row(object runtime.Object) (metav1.TableRow, error) {
	typed, ok := object.(T)
	if !ok {
		return metav1.TableRow{}, fmt.Errorf("cannot print %T in a table of %T", object, *new(T))
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return metav1.TableRow{}, fmt.Errorf("print %T: %w", object, err)
	}
	cells := make([]any, 0, len(t)+1)
	cells = append(cells, accessor.GetName())
	for _, c := range t {
		cells = append(cells, c.Cell(typed))
	}
	return metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: object}}, nil
}

// copyListMeta gives a table the revision of what it shows, and where a list
// goes on.
func copyListMeta(object runtime.Object, out *metav1.Table) {
	if list, err := meta.ListAccessor(object); err == nil {
		out.ResourceVersion = list.GetResourceVersion()
		out.Continue = list.GetContinue()
		out.RemainingItemCount = list.GetRemainingItemCount()
		return
	}
	if common, err := meta.CommonAccessor(object); err == nil {
		out.ResourceVersion = common.GetResourceVersion()
	}
}

// Age is the column that says how long ago an object was created.
func Age[T metav1.Object]() Column[T] {
	return Column[T]{
		Header: "Age", Type: String, Help: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"],
		Cell: func(object T) any { return metatable.ConvertToHumanReadableDateType(object.GetCreationTimestamp()) },
	}
}

// Since is how long ago something was, in the form of column Age; empty for
// what has not been.
func Since(t *metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	return metatable.ConvertToHumanReadableDateType(*t)
}

// TrueOrBlank is a cell of a condition of which only the one case matters.
func TrueOrBlank(condition bool) string {
	if condition {
		return "true"
	}
	return ""
}

// ConditionCell is "True" for a condition that is, the reason for one that is
// not, and blank for one that nobody has set yet.
func ConditionCell(condition *metav1.Condition) string {
	switch {
	case condition == nil:
		return ""
	case condition.Status == metav1.ConditionTrue:
		return string(metav1.ConditionTrue)
	default:
		return condition.Reason
	}
}
