// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"strings"
)

// fieldTables is a table for each type that is served, with a row for each of its
// fields. It is printed as it is; tests hold it against what is served, what is
// refused, and the tests that there are.
//
//go:embed fields.md
var fieldTables string

// What a row can say in place of the package that obeys or fills in its field.
const (
	isRefused  = "refused"   // by validation, which has a row for it
	isNeverSet = "never set" // a field of a status; the row says why
)

// fieldRow is what the tables say of one field of a type.
type fieldRow struct {
	// by is a package in backquotes, "see " and the type of the field, isRefused or
	// isNeverSet.
	by string
	// tests show it, each as directory:TestName.
	tests      []string
	difference string
}

// parseFields reads the tables: the rows of each type by the name of their field.
func parseFields(text string) (map[string]map[string]fieldRow, error) {
	types := map[string]map[string]fieldRow{}
	var current map[string]fieldRow
	for number, line := range strings.Split(text, "\n") {
		if name, found := strings.CutPrefix(line, "### "); found {
			if types[name] != nil {
				return nil, fmt.Errorf("line %d: %s has two tables", number+1, name)
			}
			current = map[string]fieldRow{}
			types[name] = current
			continue
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		if len(cells) != 4 || current == nil {
			return nil, fmt.Errorf("line %d is no row of a table: %s", number+1, line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		field := strings.Trim(cells[0], "`")
		if _, found := current[field]; found {
			return nil, fmt.Errorf("line %d: %s has two rows", number+1, field)
		}
		row := fieldRow{by: cells[1], difference: cells[3]}
		for _, test := range strings.Fields(cells[2]) {
			row.tests = append(row.tests, strings.Trim(test, "`,"))
		}
		current[field] = row
	}
	return types, nil
}
