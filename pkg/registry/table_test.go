// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-project/muster/pkg/apis/lib"
)

var testTable = Table[*lib.Set]{
	{Header: "Max", Type: Integer, Help: "the most", Cell: func(s *lib.Set) any { return int64(s.Spec.MaxReplicas) }},
	{Header: "Full", Type: String, Help: "whether", Wide: true, Cell: func(s *lib.Set) any { return TrueOrBlank(s.Spec.MaxReplicas > 1) }},
}

func newList() *lib.SetList {
	remaining := int64(3)
	return &lib.SetList{
		ListMeta: metav1.ListMeta{ResourceVersion: "12", Continue: "more", RemainingItemCount: &remaining},
		Items: []lib.Set{
			{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: lib.ClusterSetSpec{MaxReplicas: 1}},
			{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: lib.ClusterSetSpec{MaxReplicas: 2}},
		},
	}
}

func cells(table *metav1.Table) [][]any {
	var rows [][]any
	for _, row := range table.Rows {
		rows = append(rows, row.Cells)
	}
	return rows
}

func TestTableOfAList(t *testing.T) {
	list := newList()
	table, err := testTable.ConvertToTable(t.Context(), list, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]any{{"a", int64(1), ""}, {"b", int64(2), "true"}}, cells(table)); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(list.ListMeta, table.ListMeta); diff != "" {
		t.Errorf("the table does not say where the list is and goes on (-want +got):\n%s", diff)
	}
	if table.Rows[1].Object.Object != runtime.Object(&list.Items[1]) {
		t.Error("a row has another object than the one that it shows")
	}
	var columns []string
	for _, c := range table.ColumnDefinitions {
		columns = append(columns, c.Name)
		if c.Description == "" {
			t.Errorf("column %s is not described", c.Name)
		}
	}
	if diff := cmp.Diff([]string{"Name", "Max", "Full"}, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if table.ColumnDefinitions[0].Format != "name" || table.ColumnDefinitions[1].Priority != 0 || table.ColumnDefinitions[2].Priority == 0 {
		t.Errorf("the name has no format, or a wide column is none: %v", table.ColumnDefinitions)
	}
}

func TestTableOfOneObject(t *testing.T) {
	set := &lib.Set{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "5"}}
	table, err := testTable.ConvertToTable(t.Context(), set, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]any{{"a", int64(0), ""}}, cells(table)); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if table.ResourceVersion != "5" {
		t.Errorf("resourceVersion is %q", table.ResourceVersion)
	}
}

func TestTableOfAnEmptyListHasRows(t *testing.T) {
	table, err := testTable.ConvertToTable(t.Context(), &lib.SetList{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if table.Rows == nil {
		t.Error("rows are null, which clients cannot range over")
	}
}

// A watch sends the columns once.
func TestTableWithoutHeaders(t *testing.T) {
	table, err := testTable.ConvertToTable(t.Context(), newList(), &metav1.TableOptions{NoHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.ColumnDefinitions) > 0 || len(table.Rows) != 2 {
		t.Errorf("%d columns and %d rows", len(table.ColumnDefinitions), len(table.Rows))
	}
}

func TestTableOfAnotherKindIsAnError(t *testing.T) {
	for _, object := range []runtime.Object{&lib.ClusterSet{}, &lib.ClusterSetList{Items: make([]lib.ClusterSet, 1)}} {
		if _, err := testTable.ConvertToTable(t.Context(), object, nil); err == nil || !strings.Contains(err.Error(), "ClusterSet") {
			t.Errorf("%T: error is %v", object, err)
		}
	}
}

func TestCells(t *testing.T) {
	past := metav1.NewTime(time.Now().Add(-3 * time.Minute))
	tests := map[string]struct{ got, want string }{
		"no condition":        {ConditionCell(nil), ""},
		"true":                {ConditionCell(&metav1.Condition{Status: metav1.ConditionTrue, Reason: "Fine"}), "True"},
		"false says why":      {ConditionCell(&metav1.Condition{Status: metav1.ConditionFalse, Reason: "Broken"}), "Broken"},
		"unknown says why":    {ConditionCell(&metav1.Condition{Status: metav1.ConditionUnknown, Reason: "NotProbed"}), "NotProbed"},
		"since never":         {Since(nil), ""},
		"since zero":          {Since(&metav1.Time{}), ""},
		"since three minutes": {Since(&past), "3m"},
	}
	for name, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", name, test.got, test.want)
		}
	}
	age := Age[*lib.Set]().Cell(&lib.Set{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: past}})
	if age != "3m" {
		t.Errorf("age is %v", age)
	}
}
